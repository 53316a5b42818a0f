// Calls written as tags: what ends a value, and of which type it is.
#include "serve/text/xml_call.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "base/json.h"

namespace hypenet {
namespace {

ToolList tools_of(const std::string& properties, const std::string& more = "") {
  const std::string schema =
      R"({"type": "object", "properties": {)" + properties + "}" + more + "}";
  return std::make_shared<const Json>(parse_json(
      R"([{"type": "function", "function": {"name": "f", "parameters": )" + schema + "}}]",
      "test"));
}

/// The arguments of a call; nothing where it is none. What is certain early is the whole's
/// beginning.
std::optional<std::string> arguments(const std::string& text, const ToolList& tools = nullptr) {
  XmlCallReader reader(tools);
  size_t size = 0;
  std::vector<std::string> early;
  while (size < text.size() && reader.state() == CallReader::State::kOpen) {
    reader.push(text[size++]);
    if (reader.has_begun()) early.emplace_back(reader.arguments());
  }
  if (reader.state() != CallReader::State::kWhole || size < text.size()) return std::nullopt;
  std::string whole(reader.arguments());
  for (const std::string& part : early) EXPECT_TRUE(whole.starts_with(part)) << part;
  return whole;
}

std::string call_of(const std::string& value) {
  return "\n<function=f>\n<parameter=a>\n" + value + "\n</parameter>\n</function>";
}

/// What the call's only value becomes.
std::string value_of(const std::string& value, const ToolList& tools = nullptr) {
  const auto whole = arguments(call_of(value), tools);
  if (!whole || !whole->starts_with("{\"a\": ")) return "no call";
  return whole->substr(6, whole->size() - 7);
}

TEST(XmlCallReader, reads_name_and_parameters) {
  XmlCallReader reader(nullptr);
  for (const char byte : std::string(" \n<function=look up>")) reader.push(byte);
  EXPECT_TRUE(reader.has_begun());
  EXPECT_EQ(reader.name(), "look up");
  EXPECT_EQ(arguments("<function=f></function>"), "{}");
  EXPECT_EQ(arguments("<function=f> <parameter=a>1</parameter><parameter=b>\n2 </parameter>\n"
                      "</function>"),
            R"({"a": "1", "b": "2 "})");
}

TEST(XmlCallReader, a_text_keeps_all_but_a_line_break_at_its_ends) {
  EXPECT_EQ(value_of("a"), R"("a")");
  EXPECT_EQ(value_of(""), R"("")");
  EXPECT_EQ(value_of("\n a \n\n"), R"("\n a \n\n")");
  EXPECT_EQ(value_of("a\"\\\t\x01\r\u00e9"), "\"a\\\"\\\\\\t\\u0001\\r\u00e9\"");
  EXPECT_EQ(arguments("<function=f><parameter=a></parameter></function>"), R"({"a": ""})");
  EXPECT_EQ(arguments("<function=f><parameter=a>\n</parameter></function>"), R"({"a": ""})");
}

TEST(XmlCallReader, a_value_may_hold_tags) {
  for (const std::string text : {"</parameter>", "a</parameter>b", "</parameter></parameter>",
                                 "</parameter>\n</parameter>\n", "<parameter=b>", "</function>",
                                 "x</param", "</parameter> <param", "<tool_call>", "<"}) {
    const std::string expected = Json(text).dump();
    EXPECT_EQ(value_of(text), expected) << text;
  }
}

TEST(XmlCallReader, of_a_parameter_that_comes_twice_the_first_stands) {
  const std::string call =
      "<function=f><parameter=a>1</parameter><parameter=b>2</parameter><parameter=a>3"
      "</parameter><parameter=c>4</parameter></function>";
  EXPECT_EQ(arguments(call), R"({"a": "1", "b": "2", "c": "4"})");
  EXPECT_EQ(arguments(call, tools_of(R"("a": {"type": "integer"})")),
            R"({"a": 1, "b": "2", "c": "4"})");
}

/// Looking at all that came with each byte of it would take minutes.
TEST(XmlCallReader, white_space_behind_a_value_is_looked_at_once) {
  constexpr size_t kSpaces = 2'000'000;
  XmlCallReader reader(nullptr);
  for (const char byte : std::string("<function=f><parameter=a>1</parameter>")) reader.push(byte);
  for (size_t i = 0; i < kSpaces; ++i) reader.push(' ');
  for (const char byte : std::string("</function>")) reader.push(byte);
  EXPECT_EQ(reader.state(), CallReader::State::kWhole);
  EXPECT_EQ(reader.arguments(), R"({"a": "1"})");
}

TEST(XmlCallReader, values_have_the_types_of_the_schema) {
  const auto read = [](const std::string& schema, const std::string& value) {
    return value_of(value, tools_of("\"a\": " + schema,
                                    R"(, "$defs": {"n": {"type": "integer"}, "t": {"enum": ["1"]},
                                        "loop": {"anyOf": [{"$ref": "#/$defs/loop"}]}})"));
  };
  EXPECT_EQ(read(R"({"type": "string"})", "12"), R"("12")");
  EXPECT_EQ(read(R"({"type": "string"})", "null"), R"("null")");
  EXPECT_EQ(read("{}", "12"), R"("12")");
  EXPECT_EQ(read("true", "12"), R"("12")");
  EXPECT_EQ(read(R"({"type": "integer"})", " 12 "), "12");
  EXPECT_EQ(read(R"({"type": "integer"})", "123456789012345678901"), "123456789012345678901");
  EXPECT_EQ(read(R"({"type": "integer"})", "1.5"), R"("1.5")");
  EXPECT_EQ(read(R"({"type": "integer"})", "twelve"), R"("twelve")");
  EXPECT_EQ(read(R"({"type": "number"})", "1.50"), "1.50");
  EXPECT_EQ(read(R"({"type": "boolean"})", "true"), "true");
  EXPECT_EQ(read(R"({"type": "boolean"})", "False"), "false");
  EXPECT_EQ(read(R"({"type": ["number", "null"]})", "None"), "null");
  EXPECT_EQ(read(R"({"type": "object"})", "{\"k\": [1, \"x\"]}"), "{\"k\": [1, \"x\"]}");
  EXPECT_EQ(read(R"({"properties": {}})", "{}"), "{}");
  EXPECT_EQ(read(R"({"type": "array"})", "[1,\n 2]"), "[1,\n 2]");
  EXPECT_EQ(read(R"({"type": "array"})", "{}"), R"("{}")");
  EXPECT_EQ(read(R"({"type": "array"})", "[1"), R"("[1")");
  EXPECT_EQ(read(R"({"anyOf": [{"type": "integer"}, {"type": "null"}]})", "null"), "null");
  EXPECT_EQ(read(R"({"anyOf": [{"type": "integer"}, {"type": "string"}]})", "7"), "7");
  EXPECT_EQ(read(R"({"anyOf": [{"type": "integer"}, {"type": "string"}]})", "7a"), R"("7a")");
  EXPECT_EQ(read(R"({"$ref": "#/$defs/n"})", "7"), "7");
  EXPECT_EQ(read(R"({"$ref": "#/$defs/t"})", "1"), R"("1")");
  EXPECT_EQ(read(R"({"$ref": "#/$defs/loop"})", "1"), R"("1")");
  EXPECT_EQ(read(R"({"$ref": "#/$defs/none"})", "1"), R"("1")");
  EXPECT_EQ(read(R"({"$ref": 3})", "1"), R"("1")");
  EXPECT_EQ(read(R"({"enum": [1, 2]})", "2"), "2");
  // Of another function or parameter nothing is known.
  EXPECT_EQ(value_of("2", tools_of(R"("b": {"type": "integer"})")), R"("2")");
}

TEST(XmlCallReader, refuses_what_is_no_call) {
  for (const std::string text :
       {"{", "function", "<func>", "<function=>", "<function=a\n>", "<function=f>x",
        "<function=f><parameter=>", "<function=f><parameter=a\n>", "<function=f></parameter>",
        "<function=\xff></function>"}) {
    XmlCallReader reader(nullptr);
    size_t size = 0;
    while (size < text.size() && reader.state() == CallReader::State::kOpen) {
      reader.push(text[size++]);
    }
    EXPECT_EQ(reader.state(), CallReader::State::kBroken) << text;
  }
}

}  // namespace
}  // namespace hypenet
