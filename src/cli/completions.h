// The commands and options of the program as shells complete them.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace hypenet {

struct CompletedOption {
  std::vector<std::string> names = {};  // "--out", "-h"
  std::string about = {};
  bool takes_value = false;
  std::vector<std::string> choices = {};  // values; empty: files
};

struct CompletedCommand {
  std::string path = {};  // "bench/decode"; empty: the program
  std::string about = {};
  std::vector<CompletedOption> options = {};
  std::vector<std::string> commands = {};  // names of those below it

  std::string name() const { return path.substr(path.rfind('/') + 1); }
};

/// The program and every command, each before those below it; hidden ones are left out.
std::vector<CompletedCommand> completed_commands(const CLI::App& app);

/// A completion script for bash, zsh or fish. Throws Error naming the choices for another shell.
std::string completion_script(const std::vector<CompletedCommand>& commands,
                              std::string_view shell);

}  // namespace hypenet
