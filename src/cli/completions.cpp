// hypenet completions: read off the definition of the commands, so that nothing is listed twice.
#include "cli/completions.h"

#include <algorithm>
#include <iostream>
#include <memory>

#include "base/error.h"
#include "cli/commands.h"

namespace hypenet {
namespace {

/// The words of the check that CLI11 writes into an option's type: "TEXT:{skip,fail}".
std::vector<std::string> choices_of(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  const size_t begin = type.find('{'), end = type.find('}');
  if (begin == type.npos || end == type.npos || end < begin) return {};
  return CLI::detail::split(type.substr(begin + 1, end - begin - 1), ',');
}

std::string one_line(std::string text) {
  std::ranges::replace(text, '\n', ' ');
  return text;
}

CompletedOption completed_option(const CLI::Option& option) {
  CompletedOption completed{.about = one_line(option.get_description()),
                            .takes_value = option.get_items_expected_max() > 0,
                            .choices = choices_of(option)};
  for (const std::string& name : option.get_lnames()) completed.names.push_back("--" + name);
  for (const std::string& name : option.get_snames()) completed.names.push_back("-" + name);
  return completed;
}

void add_command(const CLI::App& app, const std::string& path, std::vector<CompletedCommand>& all) {
  const size_t place = all.size();
  all.push_back({.path = path, .about = one_line(app.get_description())});
  for (const CLI::Option* option : app.get_options()) {
    const bool is_named = !option->get_lnames().empty() || !option->get_snames().empty();
    if (is_named) all[place].options.push_back(completed_option(*option));
  }
  for (const CLI::App* command : app.get_subcommands({})) {
    if (command->get_group().empty()) continue;
    all[place].commands.push_back(command->get_name());
    add_command(*command, path.empty() ? command->get_name() : path + "/" + command->get_name(),
                all);
  }
}

}  // namespace

std::vector<CompletedCommand> completed_commands(const CLI::App& app) {
  std::vector<CompletedCommand> all;
  add_command(app, "", all);
  return all;
}

void add_completions_command(CLI::App& app) {
  const auto shell = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand("completions", "a script that completes commands");
  command->group("");  // for cmake --install, and no step of a user's
  command->add_option("SHELL", *shell, "bash, zsh or fish")->required();
  command->callback(
      [shell, &app] { std::cout << completion_script(completed_commands(app), *shell); });
}

}  // namespace hypenet
