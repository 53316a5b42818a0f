// The methods of Python's strings that the harness's tasks and metrics are written with, for UTF-8.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace hypenet {

/// len(text): code points.
int64_t code_points(std::string_view text);

/// text.strip(): without the white space at both ends (str.isspace).
std::string_view strip(std::string_view text);

/// text.rstrip(): without the white space at the end.
std::string_view strip_end(std::string_view text);

/// text.capitalize(): all but the first character in lower case, for characters whose other case is
/// one character.
std::string capitalize(std::string_view text);

/// text.replace(from, to): from left to right, what was put in is not looked at again.
std::string replace_all(std::string_view text, std::string_view from, std::string_view to);

/// len(re.split(r"\s+", text)): white space at an end gives an empty piece, which counts.
int64_t count_words(std::string_view text);

}  // namespace hypenet
