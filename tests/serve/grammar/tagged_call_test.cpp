// Calls written as tags: what may be drawn, and which schemas they cannot hold.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "serve/grammar/constraint.h"
#include "tests/serve/grammar/grammar_walk.h"

namespace hypenet {
namespace {

using testing::HasSubstr;
using TaggedCalls = GrammarWalk;

std::string tagged(const std::string& parameters) {
  return "<tool_call>\n<function=f>\n" + parameters + "</function>\n</tool_call>";
}

std::string parameter(const std::string& key, const std::string& value) {
  return "<parameter=" + key + ">\n" + value + "\n</parameter>\n";
}

TEST_F(TaggedCalls, calls_in_tags_hold_values_of_their_schemas) {
  const std::vector<ToolGrammar> tools = {
      {.name = "f",
       .parameters = parse_json(R"({"type": "object", "properties": {"text": {"type": "string"},
           "n": {"$ref": "#/$defs/n"}, "unit": {"$ref": "#/$defs/unit"}}, "required": ["text"],
           "$defs": {"n": {"type": "integer"}, "unit": {"enum": ["C", "F"]}}})",
                                "test"),
       .strict = true}};
  std::vector<std::string> ignored;
  const GrammarPtr grammar = compiler().compile_tool_calls(tools, ToolCallForm::qwen3_coder(),
                                                           {.required = true}, ignored);
  for (const std::string& text : {std::string("say \"hi\"\n</para> </<"), std::string("1")}) {
    const std::string whole =
        tagged(parameter("text", text) + parameter("n", "-3") + parameter("unit", "F"));
    EXPECT_EQ(take(*mask(grammar), whole), whole);
    const std::string least = tagged(parameter("text", text));
    const auto held = mask(grammar);
    EXPECT_EQ(take(*held, least), least);
    EXPECT_TRUE(may_end(*held));
    EXPECT_EQ(take(*held, "\n" + least), "\n" + least);
  }
  const auto begin = [&](const std::string& parameters) {
    const std::string text = tagged(parameters);
    const std::string taken = take(*mask(grammar), text);
    return text.substr(taken.size());
  };
  EXPECT_TRUE(begin(parameter("n", "3")).starts_with("n>"));
  EXPECT_TRUE(begin(parameter("text", "") + parameter("n", "x")).starts_with("x\n"));
  EXPECT_TRUE(begin(parameter("text", "") + parameter("unit", "K")).starts_with("K\n"));
  EXPECT_TRUE(begin("").starts_with("</function"));
}

/// The grammar of calls of f in tags, by its parameters.
GrammarPtr tagged_calls(GrammarCompiler& compiler, const std::string& schema) {
  const std::vector<ToolGrammar> tools = {
      {.name = "f", .parameters = parse_json(schema, "test"), .strict = false}};
  std::vector<std::string> ignored;
  return compiler.compile_tool_calls(tools, ToolCallForm::qwen3_coder(), {.required = true},
                                     ignored);
}

TEST_F(TaggedCalls, references_in_tags_are_to_the_whole_schema) {
  const auto grammar =
      tagged_calls(compiler(), R"({"type": "object", "properties": {"b": {"type": "boolean"},
                      "a": {"$ref": "#/properties/b"}, "again": {"type": "array", "items":
                      {"$ref": "#"}}}, "required": ["a", "b"]})");
  const std::string begin = parameter("b", "false") + parameter("a", "true");
  const std::string whole = tagged(begin + parameter("again", R"([{"b": true, "a": false}])"));
  EXPECT_EQ(take(*mask(grammar), whole), whole);
  const std::string other = tagged(begin + parameter("again", "[1]"));
  EXPECT_LE(take(*mask(grammar), other).size(), other.find("1]"));
}

TEST_F(TaggedCalls, what_json_refuses_of_a_schema_tags_refuse_as_well) {
  for (const std::string property :
       {"null", R"({"type": {"x": 1}})", R"({"type": 3})", R"({"type": ["string", 1]})",
        R"({"type": "text"})", R"({"$ref": "#/nope"})", R"({"$ref": 3})", R"({"$ref": "other"})",
        R"({"anyOf": [{"type": "string"}, {"$ref": "#/nope"}]})", R"({"anyOf": {}})",
        R"({"enum": []})", R"({"enum": "a"})", R"({"type": "string", "maxLength": "x"})"}) {
    const std::string schema = R"({"properties": {"k": )" + property + "}}";
    std::string of_json, of_tags;
    std::vector<std::string> ignored;
    try {
      compiler().compile_schema(parse_json(schema, "test"), false, ignored);
    } catch (const ConstraintError& error) {
      of_json = error.what();
    }
    try {
      tagged_calls(compiler(), schema);
    } catch (const ConstraintError& error) {
      of_tags = error.what();
    }
    ASSERT_THAT(of_json, HasSubstr("schema.properties.k"));
    EXPECT_THAT(of_tags, HasSubstr(of_json.substr(of_json.find(".properties.k")))) << property;
    EXPECT_THAT(of_tags, HasSubstr("tools: f.parameters.properties.k"));
  }
}

TEST_F(TaggedCalls, a_parameter_without_a_value_does_not_come) {
  EXPECT_THROW(tagged_calls(compiler(), R"({"properties": {"k": false}, "required": ["k"]})"),
               ConstraintError);
  for (const std::string property : {"false", R"({"enum": ["a"], "type": "integer"})"}) {
    const auto grammar = tagged_calls(compiler(), R"({"properties": {"k": )" + property + "}}");
    EXPECT_EQ(take(*mask(grammar), tagged("")), tagged(""));
    const std::string with = tagged(parameter("k", "a"));
    EXPECT_LT(take(*mask(grammar), with).size(), with.find("k>"));
  }
}

TEST_F(TaggedCalls, a_parameter_that_is_required_twice_comes_once) {
  const auto grammar = tagged_calls(compiler(), R"({"properties": {}, "required": ["x", "x"]})");
  const std::string once = tagged(parameter("x", "1"));
  EXPECT_EQ(take(*mask(grammar), once), once);
}

TEST_F(TaggedCalls, a_choice_that_would_end_its_value_is_refused) {
  for (const std::string choices :
       {R"("enum": ["b", "a</parameter>\n<parameter=z>\nq"])", R"("const": "</parameter>")"}) {
    try {
      tagged_calls(compiler(), R"({"properties": {"k": {)" + choices + "}}}");
      FAIL() << choices;
    } catch (const ConstraintError& error) {
      EXPECT_THAT(error.what(), HasSubstr("tools: f.parameters.properties.k: expected choices "
                                          "without </parameter>"));
    }
  }
}

TEST_F(TaggedCalls, tags_hold_no_keyword_of_texts) {
  const auto compile = [&](const std::string& property, bool strict) {
    const std::vector<ToolGrammar> tools = {
        {.name = "f",
         .parameters = parse_json(R"({"properties": {"a": )" + property + "}}", "test"),
         .strict = strict}};
    std::vector<std::string> ignored;
    compiler().compile_tool_calls(tools, ToolCallForm::qwen3_coder(), {}, ignored);
    return ignored;
  };
  EXPECT_EQ(compile(R"({"type": "string", "maxLength": 3})", false),
            std::vector<std::string>{"maxLength"});
  EXPECT_EQ(compile(R"({"anyOf": [{"enum": ["a"]}, {"type": "null"}]})", false),
            std::vector<std::string>{"enum"});
  EXPECT_EQ(compile(R"({"anyOf": [{"type": "string"}, {"type": "null"}]})", true),
            std::vector<std::string>{});
  EXPECT_THROW(compile(R"({"type": "string", "pattern": "a"})", true), ConstraintError);
  EXPECT_THROW(compile(R"({"type": "string"}, "a>b": {"type": "string"})", false), ConstraintError);
}

}  // namespace
}  // namespace hypenet
