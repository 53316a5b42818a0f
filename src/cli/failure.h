// Failures as the program tells them: one line.
#pragma once

#include <exception>
#include <string>
#include <string_view>

namespace hypenet {

constexpr int kFailed = 1, kInterrupted = 130;  // exit codes; 128 + SIGINT, as a shell has it

/// What a user reads of an exception, without the program's name in front.
std::string failure_text(const std::exception& error);

/// Writes "hypenet: <the first line of text>" to standard error and returns `code`.
int fail(std::string_view text, int code = kFailed);

}  // namespace hypenet
