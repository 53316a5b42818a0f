// What is common to all types: keywords, references, values, combinations.
#include "serve/grammar/schema_reader.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/error.h"
#include "serve/grammar/json_schema.h"

namespace hypenet {

namespace {

constexpr std::string_view kAnnotations[] = {
    "title",       "description",   "default",          "example",        "examples",  "$schema",
    "$id",         "$comment",      "deprecated",       "readOnly",       "writeOnly", "$defs",
    "definitions", "discriminator", "contentMediaType", "contentEncoding"};
constexpr std::string_view kCombinations[] = {"anyOf", "oneOf", "allOf"};

template <class Names>
bool has(const Names& names, const auto& name) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

std::string either(const std::string& choices, const std::string& choice) {
  return choices.empty() ? choice : concat(choices, " | ", choice);
}

/// The only value of a property of the schema; nullptr: it may have others.
const Json* only_value(const Json& schema, const std::string& key) {
  if (!schema.contains("properties") || !schema["properties"].is_object()) return nullptr;
  const Json& properties = schema["properties"];
  if (!properties.contains(key) || !properties[key].is_object()) return nullptr;
  const Json& property = properties[key];
  if (property.contains("const")) return &property["const"];
  const bool is_one = property.contains("enum") && property["enum"].size() == 1;
  return is_one ? &property["enum"][0] : nullptr;
}

}  // namespace

SchemaReader::Place SchemaReader::Place::inside(std::string_view part) const {
  return {concat(path, ".", part), depth + 1};
}

SchemaReader::SchemaReader(const Json& root, bool strict, std::string place,
                           std::vector<std::string>& ignored)
    : root_(root), strict_(strict), place_{std::move(place)}, ignored_(ignored) {}

std::string SchemaReader::read_into(EbnfRules& rules) {
  Expression value = read_passes(root_, place_, rules);
  if (!value) throw Error(concat(contradiction_, ", so no value satisfies the schema"));
  return *std::move(value);
}

SchemaReader::Expression SchemaReader::read_part_into(const Json& part, std::string_view path,
                                                      EbnfRules& rules) {
  return read_passes(part, place_.inside(path), rules);
}

SchemaReader::Expression SchemaReader::read_passes(const Json& schema, const Place& place,
                                                   EbnfRules& rules) {
  for (;;) {
    EbnfRules extended = rules;
    bool found = false;
    Expression value = pass(schema, place, extended, found);
    if (found) continue;
    if (value) rules = std::move(extended);
    return value;
  }
}

SchemaReader::Expression SchemaReader::pass(const Json& schema, const Place& place,
                                            EbnfRules& rules, bool& found) {
  rules_ = &rules;
  nodes_ = key_bytes_ = patterns_ = 0;
  order_.clear();
  Expression whole = read(schema, place);
  const std::string of_whole = contradiction_;
  for (size_t i = 0; i < order_.size(); ++i) {
    Reference& reference = references_.at(order_[i]);
    const Expression value = read(*reference.schema, {concat(place_.path, order_[i].substr(1))});
    if (!value) continue;
    rules.define(reference.rule, *value);
    found = found || !reference.has_value;
    reference.has_value = true;
  }
  contradiction_ = of_whole;
  return whole;
}

SchemaReader::Expression SchemaReader::none(const Place& place, std::string_view why) {
  contradiction_ = concat(place.path, ": ", why);
  return std::nullopt;
}

SchemaReader::Expression SchemaReader::read(const Json& schema, const Place& place) {
  HYPENET_CHECK(++nodes_ <= kMostSchemaNodes, place_.path, ": expected at most ", kMostSchemaNodes,
                " schemas in it, found more");
  HYPENET_CHECK(place.depth <= kMostSchemaDepth, place_.path, ": expected at most ",
                kMostSchemaDepth, " levels, found more");
  if (schema.is_boolean()) {
    return schema.get<bool>() ? Expression("value") : none(place, "false allows no value");
  }
  HYPENET_CHECK(schema.is_object(), place.path, ": expected a schema (an object or a boolean), ",
                "found ", json_kind(schema));
  check_keywords(schema, place);
  if (schema.contains("$ref")) return read_reference(schema["$ref"], place);
  if (schema.contains("const") || schema.contains("enum")) return read_values(schema, place);
  bool is_typed = false;
  for (const auto& [key, value] : schema.items()) is_typed |= !type_of_keyword(key).empty();
  for (const std::string_view key : kCombinations) {
    if (!schema.contains(key)) continue;
    if (!is_typed) return read_combination(schema, place);
    unsupported(key, place);
  }
  return read_types(schema, place);
}

void SchemaReader::check_keywords(const Json& schema, const Place& place) {
  const bool is_reference = schema.contains("$ref");
  const bool has_values = schema.contains("const") || schema.contains("enum");
  for (const auto& [key, value] : schema.items()) {
    if (has(kAnnotations, key)) continue;
    bool is_read = key == "$ref";
    if (!is_reference) is_read = key == "type" || key == "const" || key == "enum";
    if (!is_reference && !has_values) {
      is_read |= has(kCombinations, key) || !type_of_keyword(key).empty();
    }
    if (!is_read) unsupported(key, place);
  }
}

void SchemaReader::unsupported(std::string_view keyword, const Place& place) {
  HYPENET_CHECK(!strict_, place.path, ": the keyword '", keyword,
                "' is not supported here, and the schema is strict");
  if (!has(ignored_, keyword)) ignored_.emplace_back(keyword);
}

const Json& SchemaReader::target(const Json& uri, const Place& place) const {
  HYPENET_CHECK(uri.is_string(), place.path, ".$ref: expected a string, found ", json_kind(uri));
  const std::string name = uri.get<std::string>();
  if (name == "#") return root_;
  HYPENET_CHECK(name.starts_with("#/"), place.path, ".$ref: expected '#' or '#/...', found '", name,
                "'");
  try {
    return root_.at(Json::json_pointer(name.substr(1)));
  } catch (const Json::exception&) {
    throw Error(concat(place.path, ".$ref: the schema has no '", name, "'"));
  }
}

/// Where the references of a schema end; itself, if it has none or they go round.
const Json& SchemaReader::followed(const Json& schema, const Place& place) const {
  const Json* end = &schema;
  for (int64_t i = 0; i < kMostSchemaRefs && end->is_object() && end->contains("$ref"); ++i) {
    end = &target((*end)["$ref"], place);
  }
  return *end;
}

SchemaReader::Expression SchemaReader::read_reference(const Json& uri, const Place& place) {
  const Json& schema = target(uri, place);
  const std::string name = uri.get<std::string>();
  Reference& reference = references_[name];
  reference.schema = &schema;
  HYPENET_CHECK(static_cast<int64_t>(references_.size()) <= kMostSchemaRefs, place_.path,
                ": expected at most ", kMostSchemaRefs, " different references, found more");
  if (!has(order_, name)) {
    order_.push_back(name);
    reference.rule = rules_->reserve();
  }
  if (!reference.has_value) return none(place, concat(name, " has no value that ends"));
  return reference.rule;
}

SchemaReader::Expression SchemaReader::read_values(const Json& schema, const Place& place) {
  Json values = Json::array();
  if (schema.contains("enum")) {
    values = schema["enum"];
    HYPENET_CHECK(values.is_array() && !values.empty(), place.path,
                  ".enum: expected an array of values");
  }
  if (schema.contains("const")) {
    const Json& value = schema["const"];
    if (schema.contains("enum") && !has(values, value)) {
      return none(place, "const is none of enum");
    }
    values = Json::array({value});
  }
  Json types = schema.contains("type") ? schema["type"] : Json::array();
  if (!types.is_array()) types = Json::array({types});
  std::string choices;
  for (const Json& value : values) {
    bool fits = types.empty();
    for (const Json& type : types) {
      fits |= type.is_string() && is_of_type(value, type.get<std::string>());
    }
    if (fits) choices = either(choices, ebnf_literal(value.dump()));
  }
  if (choices.empty()) return none(place, "no value of enum or const has its type");
  return rules_->add(choices);
}

SchemaReader::Expression SchemaReader::read_combination(const Json& schema, const Place& place) {
  std::string key;
  for (const std::string_view name : kCombinations) {
    if (!schema.contains(name)) continue;
    if (key.empty()) {
      key = name;
    } else {
      unsupported(name, place);
    }
  }
  const Json& options = schema[key];
  HYPENET_CHECK(options.is_array() && !options.empty(), place.path, ".", key,
                ": expected an array of schemas");
  if (key == "allOf" && options.size() > 1) {
    unsupported(key, place);
    return read_types(schema, place);
  }
  if (key == "oneOf" && !are_disjoint(options, place)) unsupported(key, place);
  std::string choices;
  for (size_t i = 0; i < options.size(); ++i) {
    const Expression value =
        read_option(options[i], schema, place.inside(concat(key, "[", i, "]")));
    if (value) choices = either(choices, *value);
  }
  if (choices.empty()) return std::nullopt;
  return rules_->add(choices);
}

/// A type beside the combination is that of each option.
SchemaReader::Expression SchemaReader::read_option(const Json& option, const Json& schema,
                                                   const Place& place) {
  if (!schema.contains("type") || !option.is_object()) return read(option, place);
  const Json& end = followed(option, place);
  if (end.is_object() && end.contains("type")) {
    if (end["type"] != schema["type"]) unsupported("type", place);
    return read(option, place);
  }
  if (option.contains("$ref")) unsupported("type", place);
  Json typed = option;
  if (!option.contains("$ref")) typed["type"] = schema["type"];
  return read(typed, place);
}

/// Whether a value satisfies one schema at most: they have different types, or a required property
/// that tells them apart.
bool SchemaReader::are_disjoint(const Json& options, const Place& place) const {
  std::set<std::string> types;
  std::vector<const Json*> schemas;
  for (const Json& option : options) {
    const Json& schema = *schemas.emplace_back(&followed(option, place));
    if (!schema.is_object()) return false;
    if (!schema.contains("type") || !schema["type"].is_string()) continue;
    const auto type = schema["type"].get<std::string>();
    types.insert(type == "integer" ? "number" : type);
  }
  if (types.size() == options.size()) return true;
  const Json& first = *schemas.front();
  if (!first.contains("required") || !first["required"].is_array()) return false;
  for (const Json& key : first["required"]) {
    std::set<std::string> values;
    for (const Json* schema : schemas) {
      if (!key.is_string() || !schema->contains("required")) break;
      if (!has((*schema)["required"], key)) break;
      const Json* value = only_value(*schema, key.get<std::string>());
      if (value != nullptr) values.insert(value->dump());
    }
    if (values.size() == options.size()) return true;
  }
  return false;
}

}  // namespace hypenet
