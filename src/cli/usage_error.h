// What a wrong command line is told.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace hypenet {

/// One line: the word that is wrong, what was probably meant, and whose help to read. `app` is the
/// program, as its parsing left it.
std::string usage_error(const CLI::App& app, const CLI::ParseError& error);

}  // namespace hypenet
