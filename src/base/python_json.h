// JSON as Python's writers make it, which have a word for infinity that JSON has not.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "base/json.h"

namespace hypenet {

/// read_json, but a bare Infinity is the string "Infinity".
Json read_python_json(const std::filesystem::path& path);

/// The text with every Infinity outside strings quoted.
std::string with_quoted_infinity(std::string_view text);

}  // namespace hypenet
