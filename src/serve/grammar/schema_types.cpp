// The keywords of each type.
#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.h"
#include "serve/grammar/container_grammar.h"
#include "serve/grammar/json_schema.h"
#include "serve/grammar/number_grammar.h"
#include "serve/grammar/schema_reader.h"
#include "serve/grammar/string_grammar.h"

namespace hypenet {

namespace {

struct Keyword {
  std::string_view name, type;
};
constexpr Keyword kKeywords[] = {{"properties", "object"},
                                 {"required", "object"},
                                 {"additionalProperties", "object"},
                                 {"minProperties", "object"},
                                 {"maxProperties", "object"},
                                 {"prefixItems", "array"},
                                 {"items", "array"},
                                 {"minItems", "array"},
                                 {"maxItems", "array"},
                                 {"minLength", "string"},
                                 {"maxLength", "string"},
                                 {"pattern", "string"},
                                 {"format", "string"},
                                 {"minimum", "number"},
                                 {"maximum", "number"},
                                 {"exclusiveMinimum", "number"},
                                 {"exclusiveMaximum", "number"},
                                 {"multipleOf", "number"}};

/// So many literals stand for multipleOf; more are not supported.
constexpr int64_t kMostMultiples = 512;
/// Integers of one bound have this as the other: 15 digits, which float64 holds.
constexpr int64_t kLargestInteger = 999'999'999'999'999;
/// Numbers with bounds are counted in millionths up to here.
constexpr int64_t kLargestCounted = 1'000'000'000;
constexpr std::string_view kLarger = " [1-9] [0-9]{9,15} (\".\" [0-9]{1,6})?";

/// The bounds of a number in steps of 1 / scale, where it has them.
struct Bounds {
  std::optional<int64_t> least, most;
};

/// Each bound is a step whose float64 satisfies the keyword, as every reader of the answer rounds
/// alike. Throws where it is beyond `largest`.
Bounds bounds_of(const Json& schema, int64_t scale, int64_t largest, const std::string& place) {
  Bounds bounds;
  const auto steps = static_cast<double>(scale);
  for (const char* key : {"minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"}) {
    const bool is_exclusive = *key == 'e';
    if (!schema.contains(key)) continue;
    HYPENET_CHECK(schema[key].is_number(), place, ".", key, ": expected a number, found ",
                  json_kind(schema[key]));
    const double bound = schema[key].get<double>();
    const bool is_least = std::string_view(key).ends_with("inimum");
    HYPENET_CHECK(std::abs(bound) <= static_cast<double>(largest), place, ".", key,
                  ": expected at most ", largest, " in amount, found ", bound);
    const auto fails = [&](int64_t step) {
      const double value = static_cast<double>(step) / steps;
      return value == bound ? is_exclusive : is_least ? value < bound : value > bound;
    };
    auto step = static_cast<int64_t>(std::floor(bound * steps)) + (is_least ? -1 : 2);
    while (fails(step)) step += is_least ? 1 : -1;
    std::optional<int64_t>& known = is_least ? bounds.least : bounds.most;
    if (!known || fails(*known)) known = step;
  }
  return bounds;
}

}  // namespace

std::string_view type_of_keyword(std::string_view name) {
  for (const Keyword& keyword : kKeywords) {
    if (keyword.name == name) return keyword.type;
  }
  return {};
}

bool is_of_type(const Json& value, std::string_view type) {
  if (type == "object") return value.is_object();
  if (type == "array") return value.is_array();
  if (type == "string") return value.is_string();
  if (type == "boolean") return value.is_boolean();
  if (type == "null") return value.is_null();
  if (!value.is_number()) return false;
  return type == "number" || std::floor(value.get<double>()) == value.get<double>();
}

int64_t SchemaReader::least(const Json& schema, const char* key, const Place& place) const {
  if (!schema.contains(key)) return 0;
  const Json& value = schema[key];
  const bool is_count = is_of_type(value, "integer") && value.get<double>() >= 0;
  HYPENET_CHECK(is_count, place.path, ".", key, ": expected an integer from 0, found ",
                json_kind(value));
  HYPENET_CHECK(value.get<double>() <= kMostRepeats, place.path, ".", key, ": expected at most ",
                kMostRepeats, ", found ", value.dump());
  return value.get<int64_t>();
}

/// -1: no bound, or one that is not supported as it is too large.
int64_t SchemaReader::most(const Json& schema, const char* key, const Place& place) {
  if (!schema.contains(key)) return -1;
  if (schema[key].is_number() && schema[key].get<double>() > kMostRepeats) {
    unsupported(key, place);
    return -1;
  }
  return least(schema, key, place);
}

SchemaReader::Expression SchemaReader::read_types(const Json& schema, const Place& place) {
  std::vector<std::string> types;
  if (schema.contains("type")) {
    const Json& type = schema["type"];
    for (const Json& name : type.is_array() ? type : Json::array({type})) {
      HYPENET_CHECK(name.is_string(), place.path, ".type: expected a string or an array of them");
      types.push_back(name.get<std::string>());
    }
  } else {
    for (const auto& [key, value] : schema.items()) {
      const std::string type(type_of_keyword(key));
      const bool is_known = std::find(types.begin(), types.end(), type) != types.end();
      if (!type.empty() && !is_known) types.push_back(type);
    }
    if (types.empty()) return "value";
  }
  if (types.empty()) return none(place, "type allows no value");
  std::string choices;
  for (const std::string& type : types) {
    const Expression value = read_type(type, schema, place);
    if (value) choices += (choices.empty() ? "" : " | ") + *value;
  }
  if (choices.empty()) return std::nullopt;
  return types.size() == 1 ? choices : rules_->add(choices);
}

SchemaReader::Expression SchemaReader::read_type(std::string_view type, const Json& schema,
                                                 const Place& place) {
  if (type == "object") return read_object(schema, place);
  if (type == "array") return read_array(schema, place);
  if (type == "string") return read_string(schema, place);
  if (type == "integer") return read_integer(schema, place);
  if (type == "number") return read_number(schema, place);
  if (type == "boolean") return "(\"true\" | \"false\")";
  HYPENET_CHECK(type == "null", place.path, ".type: expected object, array, string, integer, ",
                "number, boolean or null, found '", type, "'");
  return "\"null\"";
}

SchemaReader::Expression SchemaReader::read_object(const Json& schema, const Place& place) {
  const Json properties = schema.value("properties", Json::object());
  Json required = schema.value("required", Json::array());
  HYPENET_CHECK(properties.is_object(), place.path, ".properties: expected an object, found ",
                json_kind(properties));
  HYPENET_CHECK(required.is_array(), place.path, ".required: expected an array, found ",
                json_kind(required));
  ObjectGrammar object;
  // Objects of which nothing is known may have anything; where properties are listed, a model
  // that adds others is mistaken more often than not.
  const auto listed = static_cast<int64_t>(std::max(properties.size(), required.size()));
  HYPENET_CHECK(listed <= kMostProperties, place.path, ".properties: expected at most ",
                kMostProperties, ", found ", listed);
  const bool is_open = properties.empty() && required.empty();
  const Json others = schema.value("additionalProperties", Json(is_open));
  const Expression other = read(others, place.inside("additionalProperties"));
  if (is_open || schema.contains("additionalProperties")) object.additional = other;
  bool is_narrowed = false;
  for (const auto& [key, property] : properties.items()) {
    const bool is_required = std::find(required.begin(), required.end(), key) != required.end();
    const Expression value = read(property, place.inside(concat("properties.", key)));
    if (!value && is_required) return std::nullopt;
    if (value) object.properties.push_back({key, *value, is_required});
    is_narrowed |= !value;
  }
  for (const Json& key : required) {
    HYPENET_CHECK(key.is_string(), place.path, ".required: expected strings, found ",
                  json_kind(key));
    const auto name = key.get<std::string>();
    const auto has_name = [&](const auto& property) { return property.key == name; };
    if (std::any_of(object.properties.begin(), object.properties.end(), has_name)) continue;
    const Expression value = schema.contains("additionalProperties") ? other : Expression("value");
    if (!value) return none(place, concat(name, " is required, and may not be there"));
    object.properties.push_back({name, *value, true});
  }
  // A key that was left out must not come back as another one; and other keys are told apart from
  // those listed letter by letter, of which a grammar bears only so many.
  if (object.additional) {
    for (const auto& property : object.properties) key_bytes_ += std::ssize(property.key);
  }
  if (is_narrowed || key_bytes_ > kMostKeyBytes) object.additional.reset();
  if (!set_counts(schema, object, place)) return std::nullopt;
  return add_object(object, *rules_);
}

/// minProperties and maxProperties, where all keys are free; else they are left to the properties.
bool SchemaReader::set_counts(const Json& schema, ObjectGrammar& object, const Place& place) {
  const int64_t fewest = least(schema, "minProperties", place);
  const int64_t limit = most(schema, "maxProperties", place);
  const auto listed = static_cast<int64_t>(object.properties.size());
  const auto needed =
      std::count_if(object.properties.begin(), object.properties.end(),
                    [](const ObjectGrammar::Property& property) { return property.is_required; });
  const bool is_too_few = limit >= 0 && std::max<int64_t>(fewest, needed) > limit;
  if (is_too_few || (!object.additional && fewest > listed)) {
    none(place, "minProperties and maxProperties leave no number of properties");
    return false;
  }
  if (listed == 0 && object.additional) {
    object.least = fewest;
    object.most = limit;
    return true;
  }
  if (fewest > needed) unsupported("minProperties", place);
  if (limit >= 0 && (object.additional || listed > limit)) unsupported("maxProperties", place);
  return true;
}

SchemaReader::Expression SchemaReader::read_array(const Json& schema, const Place& place) {
  Json items = schema.value("items", Json(!schema.contains("prefixItems")));
  Json first = schema.value("prefixItems", Json::array());
  if (items.is_array()) {  // as drafts before 2020-12 have it
    first = items;
    items = false;
  }
  HYPENET_CHECK(first.is_array(), place.path, ".prefixItems: expected an array, found ",
                json_kind(first));
  ArrayGrammar array;
  array.least = least(schema, "minItems", place);
  array.most = most(schema, "maxItems", place);
  if (array.most != 0) array.item = read(items, place.inside("items"));
  for (const Json& item : first) {
    const auto size = static_cast<int64_t>(array.first.size());
    const Expression value = size == array.most
                                 ? std::nullopt
                                 : read(item, place.inside(concat("prefixItems[", size, "]")));
    if (!value) {  // an array with an item here would be too long or none
      array.item.reset();
      break;
    }
    array.first.push_back(*value);
  }
  const auto size = static_cast<int64_t>(array.first.size());
  if (!array.item) array.most = size;
  if (array.most >= 0 && array.least > array.most) {
    return none(place, "minItems is more than there can be");
  }
  return add_array(array, *rules_);
}

SchemaReader::Expression SchemaReader::read_string(const Json& schema, const Place& place) {
  const int64_t fewest = least(schema, "minLength", place);
  const int64_t limit = most(schema, "maxLength", place);
  if (limit >= 0 && fewest > limit) return none(place, "minLength is more than maxLength");
  std::optional<std::string> expression;
  for (const char* key : {"pattern", "format"}) {
    if (!schema.contains(key)) continue;
    HYPENET_CHECK(schema[key].is_string(), place.path, ".", key, ": expected a string, found ",
                  json_kind(schema[key]));
    HYPENET_CHECK(++patterns_ <= kMostPatterns, place_.path, ": expected at most ", kMostPatterns,
                  " patterns and formats, found more");
    const auto text = schema[key].get<std::string>();
    const auto found = *key == 'p' ? pattern_grammar(text) : format_grammar(text);
    if (!found || expression) unsupported(key, place);
    if (!expression) expression = found;
  }
  if (!expression) {
    if (fewest == 0 && limit < 0) return "string";
    // Repeated, a choice between a character and an escape takes a second for a mask.
    const std::string character = rules_->add("[^\\0-\\x1f\\\"\\\\]");
    return rules_->add(concat("\"\\\"\" ", character, ebnf_repeat(fewest, limit), " \"\\\"\""));
  }
  if (fewest > 0) unsupported("minLength", place);
  if (limit >= 0) unsupported("maxLength", place);
  return rules_->add(concat("\"\\\"\" (", *expression, ") \"\\\"\""));
}

SchemaReader::Expression SchemaReader::read_integer(const Json& schema, const Place& place) {
  const Bounds bounds = bounds_of(schema, 1, kLargestInteger, place.path);
  const int64_t from = bounds.least.value_or(-kLargestInteger);
  const int64_t to = bounds.most.value_or(kLargestInteger);
  if (from > to) return none(place, "no integer is between its bounds");
  if (schema.contains("multipleOf") && schema["multipleOf"] != 1) {
    const Json& step = schema["multipleOf"];
    HYPENET_CHECK(step.is_number() && step.get<double>() > 0, place.path,
                  ".multipleOf: expected a number over 0");
    const bool is_listed = is_of_type(step, "integer") && bounds.least && bounds.most &&
                           static_cast<double>(to - from) / step.get<double>() < kMostMultiples;
    if (is_listed) {
      std::string choices;
      const auto multiple = step.get<int64_t>();
      int64_t value = from - from % multiple;
      if (value < from) value += multiple;
      for (; value <= to; value += multiple) {
        choices += concat(choices.empty() ? "" : " | ", "\"", value, "\"");
      }
      if (choices.empty()) return none(place, "no multiple is between its bounds");
      return rules_->add(choices);
    }
    unsupported("multipleOf", place);
  }
  if (!bounds.least && !bounds.most) return "integer";
  return rules_->add(integers_between(from, to));
}

SchemaReader::Expression SchemaReader::read_number(const Json& schema, const Place& place) {
  if (schema.contains("multipleOf")) unsupported("multipleOf", place);
  const Bounds bounds = bounds_of(schema, kBoundedScale, kLargestCounted, place.path);
  if (!bounds.least && !bounds.most) return "number";
  constexpr int64_t kBeyond = kLargestCounted * kBoundedScale - 1;
  const int64_t from = bounds.least.value_or(-kBeyond), to = bounds.most.value_or(kBeyond);
  if (from > to) return none(place, "no number of six decimals is between its bounds");
  std::string choices = millionths_between(from, to);
  if (!bounds.least) choices += concat(" | \"-\"", kLarger);
  if (!bounds.most) choices += concat(" |", kLarger);
  return rules_->add(choices);
}

}  // namespace hypenet
