// Notes: what a user should know beside the results, a line each on standard error.
#pragma once

#include <string>

namespace hypenet {

/// Prints "note: <text>".
void print_note(const std::string& text);

}  // namespace hypenet
