// What no JSON text may hold, wherever it stands.
#include "base/json_text.h"

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace hypenet {
namespace {

using std::string_literals::operator""s;

TEST(JsonText, all_of_it_is_consumed) {
  for (const std::string& text :
       {"{}\0{\"a\": 1}"s, "{}\0"s, "\0"s, "[1]\0\0"s, "\"a\0b\""s, "{} x"s, "1 2"s, "[1],"s}) {
    EXPECT_FALSE(try_parse_json(text)) << text;
  }
  EXPECT_ERROR(parse_json("{\"text\":\"one\"}\0\0\0{}"s, "a.jsonl:1"),
               "a.jsonl:1: expected JSON, found a NUL byte at byte 15");
  EXPECT_EQ(try_parse_json(" [1]\r\n\t ")->dump(), "[1]");
}

TEST(JsonText, faults_are_named_with_byte_and_line) {
  const auto expect = [](const std::string& text, const std::string& found) {
    EXPECT_ERROR(parse_json(text, "x"), "x: expected JSON, found " + found);
  };
  expect(R"({"text":"a\ud83d b"})", "a lone surrogate at byte 17");
  expect(R"("\ude00")", "a lone surrogate at byte");
  expect("{\"text\": \"\xff\"}", "bytes that are no UTF-8 at byte 11");
  expect("\xFF\xFE{\0}\0"s, "UTF-16 (JSON is UTF-8) at byte 1");
  expect("[\n1,\n2,\n]", "a syntax error at byte 9 (line 4)");
  expect("-1e999", "a number out of range");
  expect("", "a syntax error at byte 1");
}

TEST(JsonText, a_byte_order_mark_is_passed_over) {
  EXPECT_EQ(parse_json("\xEF\xBB\xBF[1]", "x").dump(), "[1]");
}

TEST(JsonText, the_last_of_equal_keys_counts) {
  EXPECT_EQ(parse_json(R"({"a": 1, "b": 2, "a": 3})", "x").dump(), R"({"a":3,"b":2})");
}

TEST(JsonText, deep_nesting_is_refused_and_brackets_in_strings_are_none) {
  const std::string open(100000, '[');
  EXPECT_ERROR(parse_json(open, "x"), "x: expected JSON, found nesting over 512 deep at byte 513");
  EXPECT_ERROR(parse_json(open + std::string(100000, ']'), "x"), "nesting over 512 deep");
  std::string objects;
  for (int i = 0; i < 513; ++i) objects += "{\"a\":";
  EXPECT_ERROR(parse_json(objects, "x"), "nesting over 512 deep");
  EXPECT_TRUE(try_parse_json("[\"" + open + "\\\"" + open + "\"]"));
  EXPECT_TRUE(try_parse_json(std::string(512, '[') + std::string(512, ']')));
}

}  // namespace
}  // namespace hypenet
