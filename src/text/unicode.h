// UTF-8 and the few Unicode properties that tokenizers need. Invalid bytes are replaced exactly as
// Python's decode(errors="replace") does: one U+FFFD for each longest start of a valid sequence.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/utf8.h"

namespace hypenet {

/// The text with every invalid piece replaced by U+FFFD.
std::string replace_invalid_utf8(std::string_view bytes);

/// How many leading bytes do not belong to a truncated character at the end.
size_t complete_utf8_size(std::string_view bytes);

/// True when the text surely is in Normalization Form C: each of its characters stands alone under
/// normalisation.
bool is_surely_nfc(std::string_view text);

/// The text in Normalization Form C of Unicode 9, which the `tokenizers` library keeps to: later
/// characters stay as they are. The text must be valid UTF-8.
std::string nfc(std::string_view text);

/// The lower-case and title-case forms that are one character; others give the character itself.
char32_t lower_case(char32_t code);
char32_t title_case(char32_t code);

/// The text with each character in lower case.
std::string lower_case(std::string_view text);

/// A code point (no surrogate, at most U+10FFFF) as UTF-8.
std::string to_utf8(char32_t code);

/// Property White_Space.
bool is_white_space(char32_t code);

/// What Python's str.isspace and \s of its regular expressions match: the property White_Space and
/// the four separators of ASCII.
bool is_python_space(char32_t code);

/// A word character of Unicode TR18, version 16: letters, marks, decimal digits, connectors, join
/// controls.
bool is_word(char32_t code);

}  // namespace hypenet
