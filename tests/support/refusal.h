// What the program says of a request that it refuses, without the half second that a start takes.
#pragma once

#include <algorithm>
#include <utility>

#include "cli/commands.h"
#include "cli/usage_error.h"
#include "tests/support/program.h"

namespace hypenet::testing_support {

/// The command that `add` adds reads the program's arguments, its own name first, in this process.
inline ProgramResult refusal(void (*add)(CLI::App&), std::vector<std::string> arguments) {
  CLI::App app("", "hypenet");
  add(app);
  std::ranges::reverse(arguments);  // CLI11 takes them from the end
  try {
    app.parse(std::move(arguments));
    return {0, "", ""};
  } catch (const CLI::ParseError& error) {
    return {1, "", concat("hypenet: ", usage_error(app, error), "\n")};
  } catch (const Error& error) {
    return {1, "", concat("hypenet: ", error.what(), "\n")};
  }
}

}  // namespace hypenet::testing_support
