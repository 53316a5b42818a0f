// Expressions written for Oniguruma find what they find in the Python package `tokenizers`, or are
// refused; searches end on every text.
#include "text/pattern.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <sstream>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/json.h"
#include "tests/support/expect_error.h"
#include "text/pre_tokenizer.h"

namespace hypenet {
namespace {

std::vector<std::string> matches(const Pattern& pattern, const std::string& text) {
  Pattern::Search search(pattern);
  search.start(text);
  std::vector<std::string> found;
  while (const auto match = search.next())
    found.push_back(text.substr(match->begin, match->end - match->begin));
  return found;
}

std::vector<std::string> matches(const std::string& expression, const std::string& text) {
  return matches(Pattern::regex(expression, "test"), text);
}

SplitBehavior behavior_named(const std::string& name) {
  if (name == "removed") return SplitBehavior::kRemoved;
  if (name == "merged_with_previous") return SplitBehavior::kMergedWithPrevious;
  if (name == "merged_with_next") return SplitBehavior::kMergedWithNext;
  return name == "contiguous" ? SplitBehavior::kContiguous : SplitBehavior::kIsolated;
}

TEST(Pattern, pieces_equal_those_of_tokenizers) {
  const auto path = std::filesystem::path(HYPENET_TEST_DATA) / "tokenizer" / "patterns.jsonl";
  std::istringstream lines(read_file(path));
  int64_t texts = 0;
  for (std::string line; std::getline(lines, line);) {
    const Json item = parse_json(line, "line");
    SplitRule rule;
    rule.pattern = item["pattern"].get<std::string>();
    rule.behavior = behavior_named(item["behavior"].get<std::string>());
    const PreTokenizer splitter(rule);
    for (size_t i = 0; i < item["texts"].size(); ++i, ++texts) {
      const std::string text = item["texts"][i].get<std::string>();
      std::deque<std::string> storage;
      const auto views = splitter.split({text}, storage);
      const std::vector<std::string> pieces(views.begin(), views.end());
      EXPECT_EQ(pieces, item["pieces"][i].get<std::vector<std::string>>())
          << *rule.pattern << " on " << text;
    }
  }
  EXPECT_GT(texts, 1000);
}

TEST(Pattern, white_space_is_unicodes) {
  EXPECT_THAT(matches(R"(\s)", " \t\n\u0085\u00A0\u2028\u3000"), testing::SizeIs(7));
  EXPECT_THAT(matches(R"([\sx])", "\u180E\u200Bx"), testing::ElementsAre("x"));
  EXPECT_THAT(matches(R"(\S)", "a \u180E"), testing::ElementsAre("a", "\u180E"));
  EXPECT_THAT(matches(R"([\S\n])", "a \u180E\n\u0085"), testing::ElementsAre("a", "\u180E", "\n"));
}

TEST(Pattern, words_are_unicodes) {
  EXPECT_THAT(matches(R"(\w+)", "é日_\u0301 ½-ⓐ"), testing::ElementsAre("é日_\u0301", "½", "ⓐ"));
  EXPECT_THAT(matches(R"([\w]+)", "é日_\u0301 ½-ⓐ"), testing::ElementsAre("é日_\u0301", "ⓐ"));
  EXPECT_THAT(matches(R"(\W)", "a-b"), testing::ElementsAre("-"));
}

TEST(Pattern, classes_are_those_of_unicode_16) {
  // An emoji of Unicode 15, a Kaktovik numeral, a letter of Garay (16).
  EXPECT_THAT(matches(R"(\p{S}|\p{N}|\p{L})", "\U0001FA77\U0001D2C0\U00010D50\U0001C000"),
              testing::ElementsAre("\U0001FA77", "\U0001D2C0", "\U00010D50"));
  EXPECT_THAT(matches(R"(\p{Han}+)", "、日、"), testing::ElementsAre("日")) << "no extensions";
  EXPECT_THAT(matches("[[:punct:]]", "a$.\u00A1\u180E"), testing::ElementsAre("$", ".", "\u00A1"));
}

TEST(Pattern, names_of_properties_are_read_loosely) {
  EXPECT_THAT(matches(R"(\p{ upper-case_LETTER }\p{^Lu}\P{^hani})", "Xa日"),
              testing::ElementsAre("Xa日"));
}

TEST(Pattern, cases_fold_as_unicode_says) {
  EXPECT_THAT(matches("(?i:'s)", "'s'S'\u017F"), testing::ElementsAre("'s", "'S", "'\u017F"));
  EXPECT_THAT(matches("(?i:[j-k])", "jK\u212A"), testing::ElementsAre("j", "K", "\u212A"));
  EXPECT_ERROR(Pattern::regex("(?i)stra\u00DFe", "test"), "one character in another case");
  EXPECT_ERROR(Pattern::regex("(?i)as(?:s)", "test"), "one character in another case");
}

TEST(Pattern, line_ends_are_everywhere) {
  EXPECT_THAT(matches("^.|.$", "ab\ncd"), testing::ElementsAre("a", "b", "c", "d"));
}

TEST(Pattern, empty_matches_end) {
  EXPECT_THAT(matches("x*", "axé"), testing::ElementsAre("", "x", ""));
  EXPECT_THAT(matches("x*", ""), testing::ElementsAre(""));
}

TEST(Pattern, a_literal_finds_itself_alone) {
  EXPECT_THAT(matches(Pattern::literal("a.b|c["), "axb c a.b|c["), testing::ElementsAre("a.b|c["));
}

TEST(Pattern, backtracking_over_a_long_text_has_room) {
  const std::string text = std::string(200'000, 'a') + "b";
  EXPECT_THAT(matches("(?:a|b)+c|(?:aa|a|b)+", text), testing::ElementsAre(text));
}

TEST(Pattern, an_expression_that_never_ends_is_an_error) {
  EXPECT_ERROR(matches("(?:a|aa)*(?:b|ca)", std::string(60, 'a')), "match limit exceeded");
}

TEST(Pattern, repeats_are_read_as_oniguruma_does) {
  EXPECT_THAT(matches("a{,2}b", "aaab{,2}"), testing::ElementsAre("aab"));
  EXPECT_THAT(matches("a{,}", "aa{,}"), testing::ElementsAre("a{,}"));
  EXPECT_THAT(matches("a{2}?", "aaa"), testing::ElementsAre("aa", "")) << "an optional a{2}";
  EXPECT_THAT(matches("(?:a{1,2}+)b", "aaaab"), testing::ElementsAre("aaaab"));
}

TEST(Pattern, what_might_have_another_meaning_is_refused_by_name) {
  const std::vector<std::pair<std::string, std::string>> refused = {
      {R"((a)\1)", "a backreference"},
      {R"((?<n>a)\k<n>)", "a backreference"},
      {R"((?<n>a)\g<n>)", "a call of a group"},
      {R"(a\Kb)", "\\K"},
      {R"(\X)", "\\X"},
      {R"(\pL)", "\\p without braces"},
      {R"(\p{Age=15})", "the unknown property Age=15"},
      {R"(\xE9)", "a byte above 127"},
      {R"(\x{110000})", "a code point above U+10FFFF"},
      {R"(\uD800)", "a surrogate"},
      {R"(\cA)", "a control escape"},
      {"[[:nonsense:]]", "the unknown POSIX class nonsense"},
      {R"([a-\d])", "a class at the end of a range"},
      {R"([\w-z])", "a range that begins with a class"},
      {"[z-a]", "a range that ends before it begins"},
      {"(?<=a+)b", "a lookbehind for what has no fixed length"},
      {"(?~a)", "a group of an unknown kind"},
      {"(?s).", "an unknown flag"},
      {"(?=a)+", "a repeat of an anchor"},
      {"(?(1)a)", "a group of an unknown kind"},
      {"(?i)[\u00DFa]", "a character whose other case is several"},
  };
  for (const auto& [expression, what] : refused) {
    EXPECT_ERROR(
        Pattern::regex(expression, "file: key"),
        "file: key: expected a regular expression that can be read as Oniguruma does, found ");
    EXPECT_ERROR(Pattern::regex(expression, "file: key"), what);
  }
}

TEST(Pattern, a_broken_expression_is_refused_with_its_place) {
  for (const char* expression :
       {"(a", "a)", "[a", R"(\p{Nonsense})", "*", R"(\p{L)", "[[:alpha", "\\", "[]", "(?#", "(?",
        "(?<", "(?<n", "(?i", "a{99999}", R"(\x{)", R"([\)"}) {
    EXPECT_ERROR(Pattern::regex(expression, "file: key"),
                 "file: key: expected a regular expression");
  }
}

}  // namespace
}  // namespace hypenet
