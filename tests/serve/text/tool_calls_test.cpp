// What is a call and what is none, byte by byte; formats are told by what a template prints.
#include "serve/text/tool_calls.h"

#include <gtest/gtest.h>

#include <string>

#include "serve/text/json_call.h"
#include "tests/support/expect_error.h"
#include "tests/text/chat_fixture.h"

namespace hypenet {
namespace {

using State = CallReader::State;

/// The state after the text, and how many bytes it took.
std::pair<State, size_t> read(CallReader& reader, const std::string& text) {
  size_t size = 0;
  while (size < text.size() && reader.state() == State::kOpen) reader.push(text[size++]);
  return {reader.state(), size};
}

State state_of(const std::string& text) {
  JsonCallReader reader;
  return read(reader, text).first;
}

TEST(JsonCallReader, reads_name_and_arguments_as_they_stand) {
  JsonCallReader reader;
  const std::string text =
      " \n{\"type\": \"function\", \"name\": \"a\\u00e9\", \"arguments\": { \"x\": [1, \"}\\\"{\"] "
      "}, "
      "\"id\": 3}";
  EXPECT_EQ(read(reader, text + " rest"), std::pair(State::kWhole, text.size()));
  EXPECT_EQ(reader.name(), "a\u00e9");
  EXPECT_EQ(reader.arguments(), "{ \"x\": [1, \"}\\\"{\"] }");
}

TEST(JsonCallReader, takes_the_keys_in_any_order) {
  JsonCallReader reader;
  EXPECT_EQ(read(reader, "{\"parameters\": {\"a\"").first, State::kOpen);
  EXPECT_FALSE(reader.has_begun());
  EXPECT_EQ(read(reader, ": 1}, \"name\": \"f\"}").first, State::kWhole);
  EXPECT_EQ(reader.arguments(), "{\"a\": 1}");
  EXPECT_EQ(reader.name(), "f");
}

TEST(JsonCallReader, knows_its_beginning_before_its_end) {
  JsonCallReader reader;
  read(reader, "{\"name\": \"f\", \"arguments\": ");
  EXPECT_FALSE(reader.has_begun());
  read(reader, "{\"a\"");
  EXPECT_TRUE(reader.has_begun());
  EXPECT_EQ(reader.arguments(), "{\"a\"");
}

TEST(JsonCallReader, refuses_what_is_no_call) {
  for (const std::string text :
       {"[", "x", "\"", "{\"answer\"", "{\"name\": \"f\"}", "{}",
        "{\"name\": 3, \"arguments\": {}}", "{\"name\": \"\", \"arguments\": {}}",
        "{\"name\": \"f\", \"arguments\": [", "{\"name\": \"f\", \"arguments\": \"{}\"}",
        "{\"name\": \"f\", \"arguments\": {'a': 1}}",
        "{\"name\": \"f\", \"arguments\": {\"a\": True}}", "{\"name\": \"f\", \"arguments\": {} x}",
        "{\"name\": \"f\", \"arguments\": {\"a\": \"\xff\"}}",
        "{\"name\": \"f\", \"name\": \"g\", \"arguments\": {}}",
        "{\"name\": \"f\", \"arguments\": {}, \"arguments\": {",
        "{\"name\": \"f\", \"arguments\": {}, \"parameters\": {"}) {
    EXPECT_EQ(state_of(text), State::kBroken) << text;
  }
  EXPECT_EQ(state_of("{\"name\": \"f\", \"arguments\": " + std::string(300, '{')), State::kBroken);
}

TEST(ToolFormats, are_told_by_what_a_template_prints) {
  EXPECT_EQ(tool_format_of(fixture_template("qwen3")), ToolFormat::kHermes);
  EXPECT_EQ(tool_format_of(fixture_template("qwen25")), ToolFormat::kHermes);
  EXPECT_EQ(tool_format_of(fixture_template("smollm2")), ToolFormat::kNone);
  EXPECT_EQ(tool_format_of(fixture_template("llama31_like")), ToolFormat::kNone);
  EXPECT_EQ(tool_format_of(fixture_template("qwen3_5_think")), ToolFormat::kQwen3Coder);
  EXPECT_EQ(tool_format_of(fixture_template("qwen3_5_nothink")), ToolFormat::kQwen3Coder);
  EXPECT_EQ(tool_format_of(ChatTemplate::parse(kLlamaTools, {}, "x")), ToolFormat::kLlama3Json);
  EXPECT_EQ(tool_format_of(ChatTemplate::named("none")), ToolFormat::kNone);
}

TEST(ToolFormats, have_names) {
  for (const ToolFormat format :
       {ToolFormat::kNone, ToolFormat::kHermes, ToolFormat::kLlama3Json, ToolFormat::kQwen3Coder}) {
    EXPECT_EQ(tool_format(to_string(format)), format);
  }
  EXPECT_ERROR(tool_format("xml"),
               "tool format: expected none, hermes, llama3-json or qwen3-coder, found \"xml\"");
}

}  // namespace
}  // namespace hypenet
