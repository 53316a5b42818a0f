// Notes: what a user should know beside the results, a line each on standard error.
#pragma once

#include <string>

namespace hypenet {

/// Prints "note: <text>", or "hypenet: <text>" where the text is a warning.
void print_note(const std::string& text);

}  // namespace hypenet
