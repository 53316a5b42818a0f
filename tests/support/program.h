// Runs the built program as a user does and collects what it says.
#pragma once

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "tests/support/temporary_folder.h"

namespace hypenet::testing_support {

struct ProgramResult {
  int code = -1;  // 128 + signal when a signal ended it
  std::string out, error;
};

/// A program that is running; its output goes to files, its input comes from one.
class RunningProgram {
 public:
  explicit RunningProgram(const std::vector<std::string>& arguments,
                          const std::string& program = HYPENET_BINARY,
                          const std::string& input = "/dev/null") {
    std::vector<char*> argv = {const_cast<char*>(program.c_str())};
    for (const auto& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    constexpr int kFlags = O_WRONLY | O_CREAT | O_TRUNC;
    posix_spawn_file_actions_addopen(&actions, 0, input.c_str(), O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, (folder_ / "out").c_str(), kFlags, 0600);
    posix_spawn_file_actions_addopen(&actions, 2, (folder_ / "error").c_str(), kFlags, 0600);
    const int failed =
        posix_spawn(&process_, program.c_str(), &actions, nullptr, argv.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    HYPENET_CHECK(failed == 0, program, ": cannot start");
  }

  pid_t process() const { return process_; }
  std::string out_so_far() const { return read_file(folder_ / "out"); }

  ProgramResult wait() {
    int status = 0;
    ::waitpid(process_, &status, 0);
    const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return {code, read_file(folder_ / "out"), read_file(folder_ / "error")};
  }

 private:
  TemporaryFolder folder_;
  pid_t process_ = -1;
};

inline ProgramResult run_program(const std::vector<std::string>& arguments) {
  return RunningProgram(arguments).wait();
}

/// The program with this text as its standard input.
inline ProgramResult run_program_with_input(const std::vector<std::string>& arguments,
                                            const std::string& text) {
  const TemporaryFolder folder;
  write_file(folder / "input", text);
  return RunningProgram(arguments, HYPENET_BINARY, folder / "input").wait();
}

}  // namespace hypenet::testing_support
