// What a schema may not be, and what is left out of one. Grammars themselves are tested by what may
// be drawn from them (constraint_test.cpp).
#include "serve/grammar/json_schema.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "serve/grammar/string_grammar.h"

namespace hypenet {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::string refusal(const Json& schema, bool strict = false) {
  EbnfRules rules;
  std::vector<std::string> ignored;
  try {
    add_schema(schema, strict, "schema", rules, ignored);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

std::string refusal_of(const std::string& text, bool strict = false) {
  return refusal(parse_json(text, "test"), strict);
}

std::vector<std::string> ignored_in(const std::string& text) {
  EbnfRules rules;
  std::vector<std::string> ignored;
  add_schema(parse_json(text, "test"), false, "schema", rules, ignored);
  return ignored;
}

struct Refused {
  const char *schema, *why;
};

TEST(JsonSchema, contradictions_are_refused_with_their_place) {
  const Refused cases[] = {
      {"false", "schema: false allows no value"},
      {R"({"type": "integer", "minimum": 1.2, "maximum": 1.8})", "no integer is between"},
      {R"({"type": "number", "exclusiveMinimum": 1, "maximum": 1})", "no number of six decimals"},
      {R"({"type": "integer", "minimum": 8, "maximum": 13, "multipleOf": 7})", "no multiple"},
      {R"({"type": "string", "minLength": 3, "maxLength": 2})", "minLength is more than maxLength"},
      {R"({"items": false, "minItems": 1})", "minItems is more than there can be"},
      {R"({"prefixItems": [{}, {}], "items": false, "minItems": 3})", "minItems is more than"},
      {R"({"properties": {"a": false}, "required": ["a"]})", "schema.properties.a: false"},
      {R"({"required": ["a"], "additionalProperties": false})", "a is required, and may not be"},
      {R"({"type": "object", "required": ["a", "b"], "maxProperties": 1})", "no number of prop"},
      {R"({"properties": {"a": {}}, "minProperties": 2})", "no number of properties"},
      {R"({"enum": ["a"], "type": "integer"})", "no value of enum or const has its type"},
      {R"({"enum": ["a"], "const": "b"})", "const is none of enum"},
      {R"({"anyOf": [false, {"minLength": 2, "maxLength": 1}]})",
       "schema.anyOf[1]: minLength is more"},
      {R"({"$ref": "#"})", "# has no value that ends"},
      {R"({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}})",
       "#/$defs/a has no value that ends"},
      {R"({"properties": {"next": {"$ref": "#"}}, "required": ["next"]})",
       "# has no value that ends"},
      {R"({"type": "array", "items": {"$ref": "#"}, "minItems": 1})",
       "minItems is more than there can be"},
  };
  for (const auto& [schema, why] : cases) EXPECT_THAT(refusal_of(schema), HasSubstr(why)) << schema;
}

TEST(JsonSchema, what_is_no_schema_is_refused_with_its_place) {
  const Refused cases[] = {
      {"[]", "schema: expected a schema (an object or a boolean), found an array"},
      {R"({"type": "int"})", "schema.type: expected object, array, string, integer"},
      {R"({"type": 3})", "schema.type: expected a string or an array of them"},
      {R"({"properties": {"a": {"items": 5}}})", "schema.properties.a.items: expected a schema"},
      {R"({"required": [1]})", "schema.required: expected strings, found an integer"},
      {R"({"enum": []})", "schema.enum: expected an array of values"},
      {R"({"anyOf": {}})", "schema.anyOf: expected an array of schemas"},
      {R"({"$ref": 1})", "schema.$ref: expected a string"},
      {R"({"$ref": "#/$defs/a"})", "schema.$ref: the schema has no '#/$defs/a'"},
      {R"({"$ref": "other.json"})", "schema.$ref: expected '#' or '#/...'"},
      {R"({"minLength": -1})", "schema.minLength: expected an integer from 0"},
      {R"({"minimum": "1"})", "schema.minimum: expected a number, found a string"},
      {R"({"pattern": 1})", "schema.pattern: expected a string"},
  };
  for (const auto& [schema, why] : cases) EXPECT_THAT(refusal_of(schema), HasSubstr(why)) << schema;
}

Json nested(const char* key, int levels) {
  Json schema = true;
  for (int i = 0; i < levels; ++i) schema = Json{{key, schema}};
  return schema;
}

TEST(JsonSchema, bounds_hold) {
  EXPECT_EQ(refusal(nested("items", 60)), "");
  EXPECT_THAT(refusal(nested("items", 65)), HasSubstr("at most 64 levels"));
  EXPECT_THAT(refusal(nested("const", 1000)), HasSubstr("at most 64 levels"));
  EXPECT_THAT(refusal(Json{{"const", std::string(70'000, 'x')}}), HasSubstr("at most 65536 bytes"));
  EXPECT_THAT(refusal(Json{{"anyOf", Json(std::vector<bool>(5000, true))}}),
              HasSubstr("at most 4096 schemas"));
  EXPECT_THAT(refusal_of(R"({"minItems": 1000000000})"),
              HasSubstr("at most 10000, found 1000000000"));
  EXPECT_THAT(refusal_of(R"({"minLength": 1e300})"), HasSubstr("at most 10000"));
  EXPECT_THAT(ignored_in(R"({"maxItems": 1000000000})"), ElementsAre("maxItems"));
  EXPECT_THAT(refusal_of(R"({"maxLength": 1000000000})", true),
              HasSubstr("'maxLength' is not supp"));
  EXPECT_THAT(refusal_of(R"({"type": "integer", "minimum": 1e16})"), HasSubstr("in amount"));
  Json properties = Json::object(), patterns = Json::object();
  for (int i = 0; i < 257; ++i) properties[std::to_string(i)] = true;
  EXPECT_THAT(refusal(Json{{"properties", properties}}), HasSubstr("at most 256, found 257"));
  for (int i = 0; i < 65; ++i) patterns[std::to_string(i)] = {{"pattern", "a"}};
  EXPECT_THAT(refusal(Json{{"properties", patterns}}), HasSubstr("at most 64 patterns"));
  Json many = {{"anyOf", Json::array()}};
  for (int i = 0; i < 300; ++i) {
    const std::string name = std::to_string(i);
    many["anyOf"].push_back({{"$ref", "#/$defs/" + name}});
    many["$defs"][name] = true;
  }
  EXPECT_THAT(refusal(many), HasSubstr("at most 256 different references"));
}

TEST(JsonSchema, unsupported_keywords_are_named_and_refused_if_strict) {
  const char* schema = R"x({"type": "object", "title": "t", "properties": {
      "a": {"type": "array", "uniqueItems": true, "items": {"not": {}}},
      "b": {"type": "string", "pattern": "^(?=x)", "format": "date"},
      "c": {"type": "number", "multipleOf": 0.1},
      "d": {"$ref": "#/properties/c", "nullable": true},
      "e": {"oneOf": [{"type": "integer"}, {"type": "number"}]},
      "f": {"type": "string", "format": "iri"},
      "g": {"uniqueItems": false}}})x";
  EXPECT_THAT(ignored_in(schema), ElementsAre("uniqueItems", "not", "pattern", "multipleOf",
                                              "nullable", "oneOf", "format"));
  EXPECT_THAT(refusal_of(schema, true),
              HasSubstr("schema.properties.a: the keyword 'uniqueItems' is"));
  EXPECT_THAT(ignored_in(R"({"title": "t", "description": "d", "default": 1, "$schema": "s"})"),
              IsEmpty());
}

TEST(JsonSchema, patterns_become_grammars_or_are_not_taken) {
  EXPECT_EQ(pattern_grammar("^a|b$"), "[a]  | [b] ");
  EXPECT_EQ(pattern_grammar(R"(^[^0-9a-zA-Z]{2,3}(?:\s|)\/$)"),
            R"([^\0-\x1f\"\\0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz]{2,3} )"
            R"(([ ]  | "" ) [\/] )");
  EXPECT_EQ(pattern_grammar("[!-$\\-]+"), R"([!#\$\-]+ )");
  for (const char* refused : {"a^",          "a$b",       "(^a)",
                              "(?=a)",       "(?<n>a)",   R"(\b)",
                              R"(\1)",       R"(\p{L})",  "\"",
                              R"(\\)",       "é",         "[",
                              "[]",          "[]]",       R"([^\w\W])",
                              R"([^ -~\D])", "a*?",       "*",
                              "(",           ")",         "a{2",
                              "a{,2}",       "a{3,2}",    "a{99999}",
                              "(a{8}){9}",   "a{65}",     "(a{1,8}){1,4}",
                              R"(\n)",       R"(\u0041)", "\t"}) {
    EXPECT_EQ(pattern_grammar(refused), std::nullopt) << refused;
  }
}

}  // namespace
}  // namespace hypenet
