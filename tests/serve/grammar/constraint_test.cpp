// Whatever is drawn from a mask is what was asked for, and what is valid may come.
#include "serve/grammar/constraint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/serve/grammar/grammar_walk.h"
#include "tests/serve/grammar/schema_validator.h"

namespace hypenet {
namespace {

using testing::HasSubstr;
using testing::Not;
using Constraint = GrammarWalk;
using Reasoning = MaskOptions::Reasoning;

constexpr const char* kSchemas[] = {
    R"({"type": "object"})",
    R"({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}},
        "required": ["b"]})",
    R"({"type": "object", "properties": {"a": {"type": "boolean"}, "é\"/\n": {"type": "null"},
        "abc": {"enum": [1, "x/y", "\u0001é\"\\", null, {"k": [1.5]}, 1e300]}}, "required": ["a"],
        "additionalProperties": {"type": "integer"}})",
    R"({"properties": {"x": {"const": "only"}}, "required": ["x", "y"], "maxProperties": 5})",
    R"({"type": "object", "additionalProperties": {"type": "boolean"}, "minProperties": 2,
        "maxProperties": 3})",
    R"({"type": "string", "minLength": 2, "maxLength": 5})",
    R"({"type": "string", "pattern": "^[a-c]{2,3}-\\d+(x|yz)?$"})",
    R"({"type": "string", "pattern": "^\\w{1,9}\\s[!-/A-Z]{1,9}\\.(?:q|r){2}$|^no$"})",
    R"({"type": "integer"})",
    R"({"type": "number"})",
    R"({"type": "integer", "minimum": -13, "maximum": 1207})",
    R"({"type": "integer", "exclusiveMinimum": -0.5})",
    R"({"type": "integer", "maximum": -99})",
    R"({"type": "integer", "minimum": 17, "maximum": 123, "multipleOf": 7})",
    R"({"type": "number", "minimum": 0, "maximum": 1})",
    R"({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.29})",
    R"({"type": "number", "minimum": -1.25, "maximum": 20.075})",
    R"({"type": "number", "minimum": 0.5, "maximum": 0.51})",
    R"({"type": "number", "minimum": 9.99})",
    R"({"type": "number", "exclusiveMaximum": 3})",
    R"({"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 2, "maxItems": 4})",
    R"({"type": "array", "prefixItems": [{"type": "boolean"}, {"type": "null"}, {"const": 7}],
        "items": {"type": "array", "maxItems": 0}, "minItems": 1, "maxItems": 5})",
    R"({"type": "array", "prefixItems": [{"const": 1}, false, {"const": 3}]})",
    R"({"type": ["string", "null", "integer"], "maxLength": 3, "minimum": 4})",
    R"({"anyOf": [{"type": "boolean"}, {"type": "array", "items": {"type": "null"}}, false]})",
    R"({"oneOf": [{"type": "object", "properties": {"kind": {"const": "a"}, "n": {"minimum": 3}},
         "required": ["kind"]}, {"type": "object", "properties": {"kind": {"enum": ["b"]}},
         "required": ["kind"]}]})",
    R"({"allOf": [{"$ref": "#/$defs/t"}], "$defs": {"t": {"type": "boolean"}}})",
    R"({"$ref": "#/$defs/node", "$defs": {"node": {"type": "object", "properties":
         {"v": {"type": "integer"}, "next": {"anyOf": [{"$ref": "#/$defs/node"},
         {"type": "null"}]}}, "required": ["v", "next"]}}})",
    R"({"type": "object", "properties": {"children": {"type": "array", "items": {"$ref": "#"}},
         "forever": {"$ref": "#/$defs/forever"}}, "$defs": {"forever": {"type": "object",
         "properties": {"again": {"$ref": "#/$defs/forever"}}, "required": ["again"]}}})",
    R"({"type": "string", "enum": ["a", 1, "b"]})",
    R"({})",
};

class DrawnFromSchema : public GrammarWalk, public testing::WithParamInterface<const char*> {};

TEST_P(DrawnFromSchema, is_valid) {
  const SchemaValidator validator(parse_json(GetParam(), "test"));
  const GrammarPtr grammar = schema(GetParam());
  int ended = 0;
  for (uint64_t seed = 0; seed < 10; ++seed) {
    const auto answer = walk(*mask(grammar), seed);
    if (!answer) continue;
    ++ended;
    const Json value = Json::parse(*answer, nullptr, false);
    ASSERT_FALSE(value.is_discarded()) << *answer;
    EXPECT_TRUE(validator.accepts(value)) << *answer;
  }
  EXPECT_GE(ended, 5);
}

INSTANTIATE_TEST_SUITE_P(Constraint, DrawnFromSchema, testing::ValuesIn(kSchemas));

TEST_F(Constraint, any_json_object_may_come_and_nothing_else) {
  const GrammarPtr grammar = compiler().compile_json_object();
  for (uint64_t seed = 0; seed < 10; ++seed) {
    const auto answer = walk(*mask(grammar), seed);
    EXPECT_TRUE(!answer || Json::parse(*answer, nullptr, false).is_object()) << *answer;
  }
  const std::string text =
      "{\"a\": [1, -2.5e-3, true, null, {\"日本語 😀\": \"\\n\\u0007\\\"\"}],\n    \"b\":{}}";
  const auto held = mask(grammar);
  EXPECT_EQ(take(*held, text), text);
  EXPECT_TRUE(may_end(*held));
  EXPECT_EQ(take(*mask(grammar), "[1]"), "");
  EXPECT_THAT(take(*mask(grammar), "{\"a\":\"\\ud800"), Not(HasSubstr("d8")));
}

struct Valid {
  const char *schema, *text;
};

TEST_F(Constraint, a_valid_text_may_come_and_end_where_it_ends) {
  const Valid cases[] = {
      {kSchemas[1], R"({"a": 12, "b": "x"})"},
      {kSchemas[1], R"({"b":"\"\\é"})"},
      {kSchemas[1], "{\n  \"a\": 0,\n  \"b\": \"\"\n}"},
      {kSchemas[2], R"({"a": true, "abc": 1, "abcd": 5, "ab": 6, "b": 0})"},
      {kSchemas[5], R"("日本")"},
      {kSchemas[6], R"("abc-120yz")"},
      {kSchemas[10], "-13"},
      {kSchemas[10], "1207"},
      {kSchemas[13], "119"},
      {kSchemas[14], "0.5"},
      {kSchemas[14], "1.0"},
      {kSchemas[15], "0.000001"},
      {kSchemas[15], "0.289999"},
      {kSchemas[16], "-1.25"},
      {kSchemas[16], "7.123456"},
      {kSchemas[16], "20.07"},
      {kSchemas[17], "0.5"},
      {kSchemas[18], "9.99"},
      {kSchemas[18], "123456789012.25"},
      {kSchemas[20], R"(["a", "b", "a"])"},
      {kSchemas[21], "[true]"},
      {kSchemas[21], "[true,null,7,[],[]]"},
      {kSchemas[27], R"({"v": 1, "next": {"v": 2, "next": null}})"},
      {kSchemas[28], R"({"children": [{"children": []}, {}]})"},
  };
  for (const auto& [text, answer] : cases) {
    SCOPED_TRACE(concat(text, "\n", answer));
    ASSERT_TRUE(SchemaValidator(parse_json(text, "test")).accepts(parse_json(answer, "test")));
    const auto held = mask(schema(text));
    EXPECT_EQ(take(*held, answer), answer);
    EXPECT_TRUE(may_end(*held));
    // A text cut off ends where it is whole and not before.
    const std::string whole = answer;
    for (size_t size = 1; size < whole.size() && whole.back() == '}'; ++size) {
      const auto cut = mask(schema(text));
      const bool is_whole = take(*cut, whole.substr(0, size)).size() == size;
      EXPECT_FALSE(is_whole && may_end(*cut)) << size;
    }
  }
}

TEST_F(Constraint, what_is_not_valid_may_not_come) {
  const Valid cases[] = {
      {kSchemas[1], R"({"a": 1, "a)"},
      {kSchemas[1], R"({"a": 1})"},
      {kSchemas[2], R"({"a": true, "a":)"},
      {kSchemas[2], R"({"a": true, "\u00)"},
      {kSchemas[5], R"("a")"},
      {kSchemas[5], "\"a\tb"},
      {kSchemas[10], "-14"},
      {kSchemas[10], "1208"},
      {kSchemas[10], "007"},
      {kSchemas[15], "0.29"},
      {kSchemas[15], "0.0000000"},
      {kSchemas[17], "0.52"},
      {kSchemas[20], R"(["a"])"},
      {kSchemas[21], "[true,7"},
      {kSchemas[28], R"({"forever")"},
  };
  for (const auto& [text, answer] : cases) {
    const auto held = mask(schema(text));
    EXPECT_FALSE(take(*held, answer) == answer && may_end(*held)) << text << "\n" << answer;
  }
}

TEST_F(Constraint, formats_hold) {
  const std::pair<const char*, const char*> cases[] = {
      {"date", "2024-11-30"},
      {"time", "23:59:59Z"},
      {"date-time", "2026-11-30T23:59:59.5+01:00"},
      {"duration", "P1Y2M3DT4H"},
      {"email", "a.b+c@d-e.example.org"},
      {"hostname", "a-1.example.org"},
      {"ipv4", "192.168.0.255"},
      {"ipv6", "2001:db8:0:0:0:0:0:1"},
      {"uuid", "01234567-89ab-cdef-0123-456789abcdef"},
      {"uri", "https://example.org/a?b=c%20d"}};
  for (const auto& [format, text] : cases) {
    std::vector<std::string> ignored;
    const Json asked = {{"type", "string"}, {"format", format}};
    const auto held = mask(compiler().compile_schema(asked, true, ignored));
    const std::string answer = concat("\"", text, "\"");
    EXPECT_EQ(take(*held, answer), answer);
    EXPECT_TRUE(may_end(*held)) << format;
  }
  EXPECT_EQ(take(*mask(schema(R"({"type": "string", "format": "date"})")), R"("2026-02-30")"),
            R"("2026-02-)");
}

TEST_F(Constraint, a_grammar_is_compiled_once_while_it_is_kept) {
  GrammarCompiler fresh(tokenizer(), columns());
  std::vector<std::string> ignored;
  const auto compile = [&](int64_t value) {
    fresh.compile_schema(Json{{"const", value}}, true, ignored);
    return fresh.compiled();
  };
  EXPECT_EQ(compile(0), 1);
  EXPECT_EQ(compile(0), 1);
  for (int64_t value = 1; value < GrammarCompiler::kKeptGrammars; ++value) compile(value);
  EXPECT_EQ(compile(0), GrammarCompiler::kKeptGrammars);  // the first is the last used now
  compile(1000);
  EXPECT_EQ(compile(0), GrammarCompiler::kKeptGrammars + 1);
  EXPECT_EQ(compile(1), GrammarCompiler::kKeptGrammars + 2);  // thrown out
}

TEST_F(Constraint, thoughts_are_free_and_the_grammar_begins_behind_them) {
  const GrammarPtr grammar = schema(R"({"const": [1]})");
  const auto inside = mask(grammar, Reasoning::kIsOpen);
  EXPECT_EQ(take(*inside, "{ anything </th"), "{ anything </th");
  EXPECT_EQ(allowed(*inside), std::nullopt);
  EXPECT_EQ(take(*inside, "</think>\n\n[1]"), "</think>\n\n[1]");
  EXPECT_TRUE(may_end(*inside));

  const auto bare = mask(grammar, Reasoning::kIsOpen);
  EXPECT_EQ(take(*bare, "</think>[1]"), "</think>[1]");

  const auto opening = mask(grammar, Reasoning::kMayOpen);
  EXPECT_EQ(take(*opening, "<think>why</think>[1]"), "<think>why</think>[1]");
  const auto without = mask(grammar, Reasoning::kMayOpen);
  EXPECT_EQ(take(*without, "[1]"), "[1]");
  EXPECT_EQ(take(*mask(grammar), "<think>"), "");
  EXPECT_EQ(take(*mask(grammar), "\n[1]"), "");
}

std::vector<ToolGrammar> two_tools() {
  return {{.name = "add",
           .parameters = parse_json(R"({"type": "object", "properties": {"a": {"type": "integer"},
               "b": {"$ref": "#/$defs/n"}}, "required": ["a", "b"],
               "$defs": {"n": {"type": "integer"}}})",
                                    "test"),
           .strict = true},
          {.name = "now", .parameters = Json::object(), .strict = false}};
}

GrammarPtr calls(GrammarCompiler& compiler, const ToolCallForm& form, ToolCallRule rule) {
  std::vector<std::string> ignored;
  const std::vector<ToolGrammar> tools = two_tools();
  return compiler.compile_tool_calls(tools, form, rule, ignored);
}

TEST_F(Constraint, required_calls_are_calls_of_the_tools) {
  const GrammarPtr grammar = calls(compiler(), ToolCallForm::hermes(), {.required = true});
  const std::string first =
      "<tool_call>\n{\"name\": \"add\", \"arguments\": {\"a\": 1, \"b\": -2}}\n</tool_call>";
  const std::string second = "\n<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>";
  const auto held = mask(grammar);
  EXPECT_FALSE(may_end(*held));
  EXPECT_EQ(take(*held, first), first);
  EXPECT_TRUE(may_end(*held));
  EXPECT_EQ(take(*held, second), second);
  EXPECT_TRUE(may_end(*held));
  EXPECT_EQ(take(*mask(grammar), "I think"), "");
  EXPECT_EQ(take(*mask(grammar), "<tool_call>\n{\"name\": \"sub\""), "<tool_call>\n{\"name\": \"");

  const GrammarPtr one =
      calls(compiler(), ToolCallForm::hermes(), {.required = true, .repeats = false});
  const auto single = mask(one);
  EXPECT_EQ(take(*single, first + second), first);
  EXPECT_TRUE(may_end(*single));
}

TEST_F(Constraint, free_calls_are_held_from_their_opening_to_their_end) {
  const auto held = mask(calls(compiler(), ToolCallForm::hermes(), {}));
  EXPECT_EQ(allowed(*held), std::nullopt);
  const std::string text = "Let me see. <tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n";
  EXPECT_EQ(take(*held, text), text);
  EXPECT_FALSE(may_end(*held));
  EXPECT_EQ(take(*held, "stop"), "");
  EXPECT_EQ(take(*held, "</tool_call>"), "</tool_call>");
  EXPECT_EQ(allowed(*held), std::nullopt);
  EXPECT_EQ(take(*held, "\n<tool_call>{\"name\": \"sub"), "\n<tool_call>{\"name\": \"");

  const auto single = mask(calls(compiler(), ToolCallForm::hermes(), {.repeats = false}));
  EXPECT_EQ(take(*single, text + "</tool_call>more"), text + "</tool_call>");
  EXPECT_TRUE(may_end(*single));
}

TEST_F(Constraint, calls_without_an_opening_are_the_whole_answer) {
  const GrammarPtr required = calls(compiler(), ToolCallForm::llama3_json(), {.required = true});
  const std::string call = R"({"name": "now", "parameters": {}})";
  const auto held = mask(required);
  EXPECT_EQ(take(*held, call), call);
  EXPECT_TRUE(may_end(*held));

  const GrammarPtr grammar = calls(compiler(), ToolCallForm::llama3_json(), {});
  const auto call_or_text = mask(grammar);
  EXPECT_EQ(take(*call_or_text, call), call);
  EXPECT_TRUE(allowed(*call_or_text).has_value());
  EXPECT_EQ(take(*mask(grammar), R"({"name": "sub")"), R"({"name": ")");
  const auto text = mask(grammar);
  EXPECT_EQ(take(*text, R"({"names": 1} {"name": "sub"})"), R"({"names": 1} {"name": "sub"})");
}

TEST_F(Constraint, what_cannot_be_had_is_an_error_of_the_request) {
  std::vector<std::string> ignored;
  try {
    compiler().compile_schema(parse_json(R"({"type": "integer", "minimum": 2, "maximum": 1})", "t"),
                              false, ignored);
    FAIL();
  } catch (const ConstraintError& error) {
    EXPECT_EQ(error.code(), ConstraintError::Code::kInvalidSchema);
    EXPECT_THAT(error.what(), HasSubstr("schema: no integer is between its bounds"));
  }
  EXPECT_THROW(GrammarCompiler(tokenizer(), 100), Error);
}

}  // namespace
}  // namespace hypenet
