// UTF-8 repair as Python does it; shortcuts of normalisation checked against the full way for every
// character.
#include "text/unicode.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "text/byte_level.h"

namespace hypenet {
namespace {

std::string utf8(char32_t code) {
  const auto byte = [](char32_t value) { return static_cast<char>(value); };
  const auto tail = [&](int shift) { return byte(0x80 | ((code >> shift) & 0x3F)); };
  if (code < 0x80) return {byte(code)};
  if (code < 0x800) return {byte(0xC0 | (code >> 6)), tail(0)};
  if (code < 0x10000) return {byte(0xE0 | (code >> 12)), tail(6), tail(0)};
  return {byte(0xF0 | (code >> 18)), tail(12), tail(6), tail(0)};
}

TEST(Utf8, every_character_reads_back) {
  for (char32_t code = 0; code <= 0x10FFFF; ++code) {
    const Utf8Step step = read_utf8(utf8(code), 0);
    const bool is_surrogate = code >= 0xD800 && code <= 0xDFFF;
    ASSERT_EQ(step.status == Utf8Status::kWhole, !is_surrogate) << uint32_t{code};
    ASSERT_EQ(step.code, is_surrogate ? 0xFFFD : code);
  }
}

TEST(Utf8, invalid_bytes_become_what_python_makes_of_them) {
  const std::string r = "\uFFFD";
  // The right side is Python's bytes.decode("utf-8", errors="replace").
  const std::vector<std::pair<std::string, std::string>> pairs = {
      {"\xFF", r},
      {"a\x80z", "a" + r + "z"},
      {"\xC3", r},
      {"\xC3(", r + "("},
      {"\xE2\x82", r},
      {"\xE2\x82 ", r + " "},
      {"\xE2(\xA1", r + "(" + r},
      {"\xF0\x9F\x98", r},
      {"\xF0\x9F\x98\xF0", r + r},
      {"\xC0\xAF", r + r},
      {"\xE0\x80\xAF", r + r + r},
      {"\xF0\x80\x80\xAF", r + r + r + r},
      {"\xED\xA0\x80", r + r + r},
      {"\xF4\x90\x80\x80", r + r + r + r},
      {"\xF5\x80", r + r},
      {"\xF1\x80\x80z", r + "z"},
  };
  for (const auto& [bytes, text] : pairs) {
    EXPECT_EQ(replace_invalid_utf8(bytes), text);
    EXPECT_FALSE(is_utf8(bytes));
    EXPECT_TRUE(is_utf8(text));
  }
  EXPECT_EQ(replace_invalid_utf8("é日🦀"), "é日🦀");
}

TEST(Utf8, only_a_truncated_last_character_is_incomplete) {
  EXPECT_EQ(complete_utf8_size(""), 0u);
  EXPECT_EQ(complete_utf8_size("ab"), 2u);
  EXPECT_EQ(complete_utf8_size("a\xF0"), 1u);
  EXPECT_EQ(complete_utf8_size("a\xF0\x9F\x98"), 1u);
  EXPECT_EQ(complete_utf8_size("a\xF0\x9F\x98\x80"), 5u);
  EXPECT_EQ(complete_utf8_size("a\xE2\x82"), 1u);
  EXPECT_EQ(complete_utf8_size("a\x80\x80"), 3u) << "no start byte: nothing can complete it";
  EXPECT_EQ(complete_utf8_size("\xED\xA0"), 2u) << "a surrogate: nothing can complete it";
  EXPECT_EQ(complete_utf8_size("a\xFF"), 2u);
}

TEST(Nfc, characters_taken_as_inert_stay_as_they_are_beside_any_mark) {
  int64_t inert = 0;
  for (char32_t code = 0; code <= 0x10FFFF; ++code) {
    const std::string one = utf8(code);
    if ((code >= 0xD800 && code <= 0xDFFF) || !is_surely_nfc(one)) continue;
    ++inert;
    // Planes without assigned characters hold nothing to compose; one in 64 of them is enough.
    if (code > 0x32000 && code % 64 != 0) continue;
    ASSERT_EQ(nfc(one), one) << uint32_t{code};
    // Letters that compose with what follows: Latin, Kana, Bengali, Hangul.
    for (const std::string before : {"e", "\u1100", "\uAC00", "\u09C7", "\u0627"}) {
      ASSERT_EQ(nfc(before + one), before + one) << uint32_t{code};
    }
  }
  EXPECT_GT(inert, 1'000'000);
}

TEST(Nfc, marks_join_and_are_put_in_order) {
  EXPECT_EQ(nfc("e\u0301"), "é");
  EXPECT_EQ(nfc("q\u0307\u0323"), "q\u0323\u0307");
  EXPECT_EQ(nfc("\u1100\u1161\u11A8"), "\uAC01");
  EXPECT_EQ(nfc("\u212B\u2126"), "\u00C5\u03A9");
  EXPECT_EQ(nfc(std::string("a\0e\u0301", 5)), std::string("a\0é", 4));
}

TEST(Nfc, marks_later_than_unicode_9_are_plain_characters) {
  EXPECT_EQ(nfc("e\u0898\u0301"), "e\u0898\u0301");
  EXPECT_EQ(nfc("e\u0301\u0898e\u0301"), "é\u0898é");
}

TEST(Words, follow_unicode_properties) {
  for (const char32_t code : {U'a', U'é', U'日', U'_', U'٣', U'\u0301', U'Ⅻ', U'ⓐ', U'\u200D'}) {
    EXPECT_TRUE(is_word(code)) << uint32_t{code};
  }
  for (const char32_t code : {U'-', U' ', U'①', U'½', U'🦀', U'\u3000'}) {
    EXPECT_FALSE(is_word(code)) << uint32_t{code};
  }
  for (const char32_t code : {U' ', U'\n', U'\u0085', U'\u00A0', U'\u2028', U'\u3000'}) {
    EXPECT_TRUE(is_white_space(code)) << uint32_t{code};
  }
  for (const char32_t code : {U'a', U'\u180E', U'\u200B', U'\uFEFF'}) {
    EXPECT_FALSE(is_white_space(code)) << uint32_t{code};
  }
}

TEST(Words, python_counts_four_separators_as_space) {
  for (char32_t code = 0; code <= 0x3001; ++code) {
    const bool is_separator = code >= 0x1C && code <= 0x1F;
    EXPECT_EQ(is_python_space(code), is_separator || is_white_space(code)) << uint32_t{code};
  }
}

TEST(Words, in_lower_case_are_character_by_character) {
  EXPECT_EQ(lower_case("Az[@ÅΣЖ3"), "az[@åσж3");
  EXPECT_EQ(lower_case(""), "");
}

TEST(ByteLevel, each_byte_has_a_character_of_its_own) {
  std::string all;
  for (int byte = 0; byte < 256; ++byte) {
    const std::string entry = entry_of_byte(static_cast<unsigned char>(byte));
    EXPECT_EQ(bytes_of_entry(entry), std::string(1, static_cast<char>(byte)));
    all += entry;
  }
  EXPECT_EQ(bytes_of_entry(all)->size(), 256u);
  EXPECT_EQ(entry_of_byte(' '), "Ġ");
  EXPECT_EQ(entry_of_byte('\n'), "Ċ");
  EXPECT_EQ(bytes_of_entry("a b"), std::nullopt);
  EXPECT_EQ(bytes_of_entry("日"), std::nullopt);
}

}  // namespace
}  // namespace hypenet
