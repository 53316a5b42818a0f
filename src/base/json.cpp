// Values out of JSON, with errors that name the place, what was expected and what was found.
#include "base/json.h"

#include <limits>

#include "base/file_kind.h"
#include "base/files.h"
#include "base/join.h"
#include "base/json_text.h"

namespace hypenet {

Json parse_json(std::string_view text, std::string_view place) {
  Json value;
  const std::optional<JsonFault> fault = parse_json_text(text, value);
  if (fault) throw Error(describe_json_fault(*fault, text, place));
  return value;
}

Json read_json(const std::filesystem::path& path) {
  return read_as("JSON", "JSON", path, [&] { return parse_json(read_file(path), path.string()); });
}

void write_json(const std::filesystem::path& path, const Json& json) {
  // Bytes that are no UTF-8 (a model's partial characters) become U+FFFD rather than an exception.
  write_file(path, json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

std::string_view json_kind(const Json& json) {
  switch (json.type()) {
    case Json::value_t::null:
      return "null";
    case Json::value_t::object:
      return "an object";
    case Json::value_t::array:
      return "an array";
    case Json::value_t::string:
      return "a string";
    case Json::value_t::boolean:
      return "a boolean";
    case Json::value_t::number_integer:
    case Json::value_t::number_unsigned:
      return "an integer";
    case Json::value_t::number_float:
      return "a number";
    case Json::value_t::binary:
    case Json::value_t::discarded:
      break;
  }
  return "no JSON value";
}

namespace {

/// A section has more to tell than a line holds.
std::string in_a_line(const Json& value) {
  return value.is_object() && !value.empty() ? "a section" : value.dump();
}

}  // namespace

std::string first_difference(const Json& expected, const Json& found) {
  if (expected == found) return "";
  if (!expected.is_object() || !found.is_object()) {
    return concat("expected ", in_a_line(expected), ", found ", in_a_line(found));
  }
  for (const auto& [key, value] : expected.items()) {
    if (!found.contains(key))
      return concat(key, ": expected ", in_a_line(value), ", found nothing");
    const Json& other = found.at(key);
    const std::string inner = first_difference(value, other);
    const bool is_inside = value.is_object() && other.is_object();
    if (!inner.empty()) return concat(key, is_inside ? "." : ": ", inner);
  }
  for (const auto& [key, value] : found.items()) {
    if (!expected.contains(key)) return concat(key, ": expected nothing, found ", in_a_line(value));
  }
  return "";  // equal but for the order of keys
}

namespace json_detail {

void read_value(const Json& json, const std::string& place, bool& value) {
  HYPENET_CHECK(json.is_boolean(), place, ": expected a boolean, found ", json_kind(json));
  value = json.get<bool>();
}

void read_value(const Json& json, const std::string& place, int64_t& value) {
  HYPENET_CHECK(json.is_number_integer(), place, ": expected an integer, found ", json_kind(json));
  constexpr auto kMost = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  HYPENET_CHECK(!json.is_number_unsigned() || json.get<uint64_t>() <= kMost, place,
                ": expected an integer of at most ", kMost, ", found ", json.get<uint64_t>());
  value = json.get<int64_t>();
}

void read_value(const Json& json, const std::string& place, double& value) {
  HYPENET_CHECK(json.is_number(), place, ": expected a number, found ", json_kind(json));
  value = json.get<double>();
}

void read_value(const Json& json, const std::string& place, std::string& value) {
  HYPENET_CHECK(json.is_string(), place, ": expected a string, found ", json_kind(json));
  value = json.get<std::string>();
}

void read_value(const Json& json, const std::string&, Json& value) { value = json; }

void check_keys(const Json& json, const std::string& place, const std::set<std::string>& known) {
  for (const auto& [key, unused] : json.items()) {
    if (known.contains(key)) continue;
    throw Error(concat(place, ": unknown key \"", key, "\", expected one of: ", join(known, ", ")));
  }
}

}  // namespace json_detail
}  // namespace hypenet
