// Reading values: each refusal names the field, what it may be and what was found.
#include "serve/api/parameters.h"

#include <algorithm>
#include <cmath>

#include "base/bounded_json.h"
#include "base/join.h"

namespace hypenet {
namespace {

constexpr int64_t kMostNestedBody = 64;
constexpr size_t kShown = 60;  // bytes of a text in an error

bool is_name_character(char character) {
  return (character >= 'a' && character <= 'z') || (character >= 'A' && character <= 'Z') ||
         (character >= '0' && character <= '9') || character == '_' || character == '-';
}

/// A value as an error shows it.
std::string shown(const Json& value) {
  if (value.is_number() || value.is_boolean()) return value.dump();
  if (!value.is_string()) return std::string(json_kind(value));
  const auto& text = value.get_ref<const std::string&>();
  if (text.size() <= kShown) return concat('"', text, '"');
  size_t end = kShown;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80) --end;
  return concat('"', std::string_view(text).substr(0, end), "...\" (", text.size(), " bytes)");
}

bool is_wrong_count(size_t count, const IntegerRange& range) {
  return std::cmp_less(count, range.least) || std::cmp_greater(count, range.most);
}

/// The integer that a number is, with 5.0 for 5; none beyond 64 bits or between integers.
std::optional<int64_t> as_integer(const Json& value) {
  if (value.is_number_unsigned()) {
    const auto number = value.get<uint64_t>();
    if (std::cmp_greater(number, std::numeric_limits<int64_t>::max())) return std::nullopt;
    return static_cast<int64_t>(number);
  }
  if (value.is_number_integer()) return value.get<int64_t>();
  const auto number = value.get<double>();
  constexpr double kBound = 0x1p63;
  if (number < -kBound || number >= kBound || std::floor(number) != number) return std::nullopt;
  return static_cast<int64_t>(number);
}

bool is_integral(const Json& value) {
  if (!value.is_number_float()) return value.is_number();
  return std::floor(value.get<double>()) == value.get<double>();
}

}  // namespace

std::optional<Field> Field::find(const char* name) const {
  const auto place = value.find(name);
  if (place == value.end() || place->is_null()) return std::nullopt;
  return Field{*place, path.empty() ? name : concat(path, ".", name)};
}

std::string IntegerRange::text() const {
  if (most == std::numeric_limits<int64_t>::max()) {
    return least == std::numeric_limits<int64_t>::min() ? "64 bits" : concat(least, " up");
  }
  return concat(least, " to ", most);
}

std::string NumberRange::text() const {
  return concat(is_over ? "over " : "", least, " to ", most);
}

bool read_boolean(const Field& field) {
  if (!field.value.is_boolean()) fail_type(field, "a boolean");
  return field.value.get<bool>();
}

int64_t read_integer(const Field& field, const IntegerRange& range) {
  const std::string expected = concat("an integer (", range.text(), ")");
  if (!is_integral(field.value)) fail_type(field, expected);
  const std::optional<int64_t> value = as_integer(field.value);
  if (!value || *value < range.least || *value > range.most) fail_value(field, expected);
  return *value;
}

double read_number(const Field& field, const NumberRange& range) {
  const std::string expected = concat("a number (", range.text(), ")");
  if (!field.value.is_number()) fail_type(field, expected);
  const auto value = field.value.get<double>();
  const bool is_low = range.is_over ? value <= range.least : value < range.least;
  if (is_low || value > range.most) fail_value(field, expected);
  return value;
}

const std::string& read_string(const Field& field) {
  if (!field.value.is_string()) fail_type(field, "a string");
  return field.value.get_ref<const std::string&>();
}

const std::string& read_string(const Field& field, const IntegerRange& bytes) {
  const std::string& text = read_string(field);
  if (is_wrong_count(text.size(), bytes)) {
    fail_value(field, concat("a string of ", bytes.text(), " bytes"));
  }
  return text;
}

const std::string& read_name(const Field& field) {
  constexpr size_t kLongest = 64;
  const std::string& name = read_string(field);
  if (name.empty() || name.size() > kLongest || !std::ranges::all_of(name, is_name_character)) {
    fail_value(field, "a name of 1 to 64 letters, digits, _ or -");
  }
  return name;
}

size_t read_choice(const Field& field, std::span<const std::string_view> choices) {
  const auto choice = std::ranges::find(choices, std::string_view(read_string(field)));
  if (choice == choices.end()) fail_value(field, concat("one of ", join(choices, ", ")));
  return static_cast<size_t>(choice - choices.begin());
}

const Json& read_object(const Field& field) {
  if (!field.value.is_object()) fail_type(field, "an object");
  return field.value;
}

const Json& read_array(const Field& field, const IntegerRange& items) {
  if (!field.value.is_array()) fail_type(field, "an array");
  if (is_wrong_count(field.value.size(), items)) {
    throw ApiError(
        "invalid_value",
        concat(field.path, ": expected ", items.text(), " items, found ", field.value.size()),
        field.path);
  }
  return field.value;
}

std::vector<int32_t> read_ids(const Field& field, const IntegerRange& count, int64_t vocab_size) {
  const Json& items = read_array(field, count);
  std::vector<int32_t> ids;
  ids.reserve(items.size());
  for (size_t i = 0; i < items.size(); ++i) {
    const std::optional<int64_t> id = is_integral(items[i]) ? as_integer(items[i]) : std::nullopt;
    if (!id || *id < 0 || *id >= vocab_size) {
      return {static_cast<int32_t>(read_integer(field.item(i), {0, vocab_size - 1}))};  // throws
    }
    ids.push_back(static_cast<int32_t>(*id));
  }
  return ids;
}

Field required(const Field& object, const char* name) {
  const std::optional<Field> field = object.find(name);
  if (!field) fail_missing(object.path.empty() ? name : concat(object.path, ".", name));
  return *field;
}

void fail_type(const Field& field, std::string_view expected) {
  throw ApiError("invalid_type",
                 concat(field.path, ": expected ", expected, ", found ",
                        field.value.is_number() ? shown(field.value) : json_kind(field.value)),
                 field.path);
}

void fail_value(const Field& field, std::string_view expected) {
  throw ApiError("invalid_value",
                 concat(field.path, ": expected ", expected, ", found ", shown(field.value)),
                 field.path);
}

void fail_unsupported(const Field& field, std::string_view what) {
  throw ApiError("unsupported_parameter", concat(field.path, ": ", what, " not supported"),
                 field.path);
}

void fail_missing(const std::string& path) {
  throw ApiError("missing_required_parameter", concat(path, ": expected a value, found none"),
                 path);
}

void IgnoredFields::add(std::string_view name) {
  constexpr size_t kLongest = 64;
  std::string safe;
  for (const char character : name) {
    const bool is_index = character >= '0' && character <= '9' && safe.ends_with('[');
    if (is_index || safe.size() == kLongest) continue;
    const bool is_safe = is_name_character(character) ||
                         std::string_view(".[]").find(character) != std::string_view::npos;
    safe += is_safe ? character : '?';
  }
  if (std::ssize(names) >= kMost || std::ranges::find(names, safe) != names.end()) return;
  names.push_back(std::move(safe));
}

void IgnoredFields::add_others(const Field& object, std::initializer_list<std::string_view> known) {
  for (const auto& [name, value] : object.value.items()) {
    if (std::ranges::find(known, name) == known.end()) add(concat(object.path, ".", name));
    if (std::ssize(names) >= kMost) return;
  }
}

Json parse_body(std::string_view body) {
  Json json;
  const std::optional<JsonFault> fault = parse_bounded_json(body, kMostNestedBody, json);
  if (fault) throw ApiError("invalid_json", describe_json_fault(*fault, body, "body"));
  if (!json.is_object()) {
    throw ApiError("invalid_type", concat("body: expected an object, found ", json_kind(json)));
  }
  return json;
}

std::string body_text(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace hypenet
