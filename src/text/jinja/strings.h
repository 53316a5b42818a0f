// What Python's strings do, with the marks of texts kept. Positions are characters where a template
// sees them and bytes elsewhere.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/jinja/text.h"
#include "text/jinja/value.h"

namespace hypenet::jinja {

/// For errors: in double quotes, cut short.
std::string in_quotes(std::string_view text);

/// A string literal's inside as Python's unicode_escape reads it; nothing where it is malformed.
std::optional<std::string> unescaped(std::string_view inside);

/// Python's strip() of white space.
std::string_view strip_right(std::string_view text);
std::string_view strip_left(std::string_view text);

/// The same of given characters; null means white space.
Text strip(const Text& text, const Text* characters, bool left, bool right);

int64_t count_characters(std::string_view text);

/// str.split and rsplit. `separator` null: at white space. `most` < 0: all.
std::vector<Text> split(const Text& text, const Text* separator, int64_t most, bool from_right);
std::vector<Text> split_lines(const Text& text, bool keeps_ends);

/// str.replace. `most` < 0: all.
Text replace(Work& work, const Text& text, const Text& old, const Text& with, int64_t most);

enum class Case { kUpper, kLower, kTitle, kCapital, kJinjaTitle };
Text with_case(const Text& text, Case kind);

/// str(value) of Python, and repr(value). Throws Fault where that would tell an address.
Text to_text(Work& work, const Value& value);

/// A float as Python prints it.
std::string float_text(double value);

}  // namespace hypenet::jinja
