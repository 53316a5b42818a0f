// What every reader of JSON asks of a text before and after its parser: nlohmann's stops at the
// first NUL byte without a word, and what is nested deeply ends in a stack overflow later.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"

namespace hypenet {

/// What is wrong with a JSON text.
struct JsonFault {
  std::string kind;  // "a syntax error", "a lone surrogate" ...
  size_t byte = 0;   // where, from 1 on; 0: not known
};

/// What is nested more deeply overflows the stack of some reader or other.
inline constexpr int64_t kMostNested = 512;

/// A NUL byte, UTF-16, or nesting over `most_nested`: what no parser shall see.
std::optional<JsonFault> find_json_fault(std::string_view text, int64_t most_nested = kMostNested);

/// The fault that an exception of nlohmann's parser tells.
JsonFault json_fault(const nlohmann::json::exception& error);

/// Error's text: "<place>: expected JSON, found a syntax error at byte 7", with the line where the
/// text has several.
std::string describe_json_fault(const JsonFault& fault, std::string_view text,
                                std::string_view place);

/// Puts the text's value into `value` (Json, or another of nlohmann's types), or says what is wrong
/// with it. Of two equal keys the last one counts, as in Python.
template <class AnyJson>
std::optional<JsonFault> parse_json_text(std::string_view text, AnyJson& value) {
  if (auto fault = find_json_fault(text)) return fault;
  try {
    value = AnyJson::parse(text);
  } catch (const nlohmann::json::exception& error) {
    return json_fault(error);
  }
  return std::nullopt;
}

/// The value, or nothing where the text is no JSON.
std::optional<Json> try_parse_json(std::string_view text);

}  // namespace hypenet
