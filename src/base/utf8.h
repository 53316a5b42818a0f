// Stepping through UTF-8.
#pragma once

#include <cstddef>
#include <string_view>

namespace hypenet {

enum class Utf8Status { kWhole, kInvalid, kTruncated };

/// One step through UTF-8. kTruncated: the text ends inside a sequence that was valid so far.
struct Utf8Step {
  char32_t code = 0;  // U+FFFD unless whole
  size_t size = 0;    // bytes to advance, at least 1
  Utf8Status status = Utf8Status::kWhole;
};

/// Reads the character at byte `at`, which must lie inside the text.
Utf8Step read_utf8(std::string_view text, size_t at);

bool is_utf8(std::string_view text);

/// How many bytes at the start are ASCII.
size_t ascii_prefix(std::string_view text);

}  // namespace hypenet
