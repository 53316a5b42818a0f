// The parameters of a request as data: each row names a field, says what it may be and reads it, so
// that what is checked is what docs/serving-api.md says.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "serve/api/api_error.h"
#include "serve/api/served_model.h"

namespace hypenet {

/// A value of a request's body and where it stands: "messages[2].content".
struct Field {
  const Json& value;
  std::string path;

  /// An object's member; none where it is absent or null, which is as good as absent.
  std::optional<Field> find(const char* name) const;
  Field item(size_t index) const { return {value[index], concat(path, "[", index, "]")}; }
};

struct IntegerRange {
  int64_t least = std::numeric_limits<int64_t>::min();
  int64_t most = std::numeric_limits<int64_t>::max();
  std::string text() const;  // "0 to 20", "1 up"
};

struct NumberRange {
  double least = 0, most = 0;
  bool is_over = false;      // `least` itself is out
  std::string text() const;  // "0 to 2", "over 0 to 1"
};

/// Each throws ApiError: invalid_type where the value is of another kind, invalid_value where it is
/// out of its range, with the field's path as param. Types are strict, but 5.0 is an integer.
bool read_boolean(const Field& field);
int64_t read_integer(const Field& field, const IntegerRange& range = {});
double read_number(const Field& field, const NumberRange& range);
const std::string& read_string(const Field& field);
const std::string& read_string(const Field& field, const IntegerRange& bytes);
/// Letters, digits, _ and -, 1 to 64 of them.
const std::string& read_name(const Field& field);
/// The place of the string among `choices`.
size_t read_choice(const Field& field, std::span<const std::string_view> choices);
const Json& read_object(const Field& field);
const Json& read_array(const Field& field, const IntegerRange& items = {});
/// Token ids below vocab_size.
std::vector<int32_t> read_ids(const Field& field, const IntegerRange& count, int64_t vocab_size);
/// A member that must be there. Throws missing_required_parameter.
Field required(const Field& object, const char* name);

[[noreturn]] void fail_type(const Field& field, std::string_view expected);
[[noreturn]] void fail_value(const Field& field, std::string_view expected);
[[noreturn]] void fail_unsupported(const Field& field, std::string_view what);
[[noreturn]] void fail_missing(const std::string& path);

/// Fields of a body that nobody knows, for the header x-ignored-params.
struct IgnoredFields {
  static constexpr int64_t kMost = 32;
  /// At most kMost, each of letters, digits, _ - . [ ] (else ?), without indices: "messages[].x".
  std::vector<std::string> names = {};

  void add(std::string_view name);
  /// Adds the members of an object that are none of `known`.
  void add_others(const Field& object, std::initializer_list<std::string_view> known);
};

/// What a row's reader gets beside the value.
struct ParseContext {
  const ServedModel& model;
  IgnoredFields& ignored;
};

/// A field of a request's body.
template <class Form>
struct Parameter {
  std::string name;
  std::string type;      // and range, as docs/serving-api.md has it
  std::string fallback;  // the default, in words
  std::string text;      // what it does
  std::function<void(const Field&, Form&, const ParseContext&)> read;
};

template <class Form>
using Parameters = std::vector<Parameter<Form>>;

/// The body of a request as JSON. Throws ApiError: invalid_json (syntax, NaN, numbers out of range,
/// lone surrogates, no UTF-8, nesting over 64, nothing at all), invalid_type where it is no object.
Json parse_body(std::string_view body);

/// The body of an answer; bytes that are no UTF-8 become U+FFFD.
std::string body_text(const Json& json);

/// Reads each field that has a row, in the body's order; other fields are ignored and named.
template <class Form>
void read_parameters(const Json& body, const Parameters<Form>& parameters, Form& form,
                     const ParseContext& context) {
  std::unordered_map<std::string_view, const Parameter<Form>*> rows;
  for (const auto& parameter : parameters) rows.emplace(parameter.name, &parameter);
  for (const auto& [name, value] : body.items()) {
    const auto row = rows.find(name);
    if (row == rows.end()) {
      context.ignored.add(name);
    } else if (!value.is_null()) {
      row->second->read({value, name}, form, context);
    }
  }
}

/// A Markdown table of the rows: what docs/serving-api.md shows.
template <class Form>
std::string describe_parameters(const Parameters<Form>& parameters) {
  std::string table = "| parameter | type, range | default | what |\n|---|---|---|---|\n";
  for (const auto& [name, type, fallback, text, read] : parameters) {
    table += concat("| `", name, "` | ", type, " | ", fallback, " | ", text, " |\n");
  }
  return table;
}

}  // namespace hypenet
