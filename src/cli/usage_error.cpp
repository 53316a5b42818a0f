// CLI11 tells of a missing option before it tells of one that is misspelt, and names no commands:
// what it could not place is looked at first.
#include "cli/usage_error.h"

#include <map>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "cli/suggestion.h"

namespace hypenet {
namespace {

/// The program and the commands in it that were named, the last one innermost.
std::vector<const CLI::App*> named_commands(const CLI::App& app) {
  std::vector<const CLI::App*> chain = {&app};
  while (!chain.back()->get_subcommands().empty()) {
    chain.push_back(chain.back()->get_subcommands().front());
  }
  return chain;
}

std::string call_of(const std::vector<const CLI::App*>& chain, size_t last) {
  std::string call = "hypenet";
  for (size_t i = 1; i <= last; ++i) call += " " + chain[i]->get_name();
  return call;
}

std::vector<std::string> commands_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* each : app.get_subcommands({})) {
    const bool is_hidden = each->get_group().empty();
    if (!is_hidden) names.push_back(each->get_name());
  }
  return names;
}

std::vector<std::string> options_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

std::string unknown_word(const CLI::App& app, const std::string& call, const std::string& word) {
  if (word.starts_with('-')) {
    const std::string name = word.substr(0, word.find('='));
    const std::string bare = name.substr(std::min(name.find_first_not_of('-'), name.size()));
    return concat("unknown option \"", name, "\"", did_you_mean("--" + bare, options_of(app)), call,
                  " --help lists the options");
  }
  if (!commands_of(app).empty() && app.get_subcommands().empty()) {
    return concat("unknown command \"", word, "\"", did_you_mean(word, commands_of(app)), call,
                  " --help lists the commands");
  }
  return concat("unexpected argument \"", word, "\"; ", call, " --help lists the options");
}

/// "--tokens: expected an integer, found "many"", where the error names an option of numbers.
std::string unreadable_number(const CLI::App& app, const std::string& text) {
  static const std::map<std::string, const char*> kKinds = {
      {"INT", "an integer"}, {"UINT", "an integer of 0 or more"}, {"FLOAT", "a number"}};
  const size_t begin = text.find("--"), end = text.find(" = ");
  if (begin == std::string::npos || end == std::string::npos || end < begin) return text;
  const std::string name = text.substr(begin, end - begin);
  const CLI::Option* option = app.get_option_no_throw(name);
  const auto kind = option ? kKinds.find(option->get_type_name()) : kKinds.end();
  if (kind == kKinds.end()) return text;
  return concat(name, ": expected ", kind->second, ", found \"", text.substr(end + 3), "\"");
}

/// CLI11's "--a excludes --b" does not say that both were given.
std::string both_given(std::string text) {
  constexpr std::string_view kExcludes = " excludes ";
  const size_t at = text.find(kExcludes);
  if (at != std::string::npos)
    text.replace(at, kExcludes.size(), " cannot be given together with ");
  return text;
}

}  // namespace

std::string usage_error(const CLI::App& app, const CLI::ParseError& error) {
  const auto chain = named_commands(app);
  for (size_t i = 0; i < chain.size(); ++i) {
    const auto extras = chain[i]->remaining();
    if (!extras.empty()) return unknown_word(*chain[i], call_of(chain, i), extras.front());
  }
  const std::string text = error.what(), call = call_of(chain, chain.size() - 1);
  const auto commands = commands_of(*chain.back());
  if (!commands.empty()) {
    return concat(call, ": expected a command (", CLI::detail::join(commands, ", "),
                  "), found none; see ", call, " --help");
  }
  const std::string line = text.substr(0, text.find('\n'));
  const std::string readable = error.get_name() == "ExcludesError"
                                   ? both_given(line)
                                   : unreadable_number(*chain.back(), line);
  return concat(readable, "; see ", call, " --help");
}

}  // namespace hypenet
