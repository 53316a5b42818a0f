// Expressions written for Oniguruma mean the same here, or are refused; searches end on every text.
#include "text/pattern.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/support/expect_error.h"

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

TEST(Pattern, white_space_is_unicodes) {
  EXPECT_THAT(matches(R"(\s)", " \t\n\u0085\u00A0\u2028\u3000"), testing::SizeIs(7));
  EXPECT_THAT(matches(R"([\sx])", "\u180E\u200Bx"), testing::ElementsAre("x"));
  EXPECT_THAT(matches(R"(\S)", "a \u180E"), testing::ElementsAre("a", "\u180E"));
  EXPECT_THAT(matches(R"([\S\n])", "a \u180E\n\u0085"), testing::ElementsAre("a", "\u180E", "\n"));
}

TEST(Pattern, words_are_unicodes) {
  EXPECT_THAT(matches(R"(\w+)", "é日_\u0301 ½-ⓐ"), testing::ElementsAre("é日_\u0301", "½", "ⓐ"));
  EXPECT_THAT(matches(R"(\W)", "a-b"), testing::ElementsAre("-"));
}

TEST(Pattern, cases_fold_as_unicode_says) {
  EXPECT_THAT(matches("(?i:'s)", "'s'S'\u017F"), testing::ElementsAre("'s", "'S", "'\u017F"));
}

TEST(Pattern, line_ends_are_everywhere) {
  EXPECT_THAT(matches("^.|.$", "ab\ncd"), testing::ElementsAre("a", "b", "c", "d"));
}

TEST(Pattern, empty_matches_end) {
  EXPECT_THAT(matches("x*", "axé"), testing::ElementsAre("", "x", ""));
  EXPECT_THAT(matches("x*", ""), testing::ElementsAre(""));
}

TEST(Pattern, a_literal_finds_itself_alone) {
  EXPECT_THAT(matches(Pattern::literal("a.b|c[", "test"), "axb c a.b|c["),
              testing::ElementsAre("a.b|c["));
}

TEST(Pattern, backtracking_over_a_long_text_has_room) {
  const std::string text = std::string(200'000, 'a') + "b";
  EXPECT_THAT(matches("(?:a|b)+c|(?:aa|a|b)+", text), testing::ElementsAre(text));
}

TEST(Pattern, what_has_another_meaning_is_refused) {
  for (const char* expression :
       {R"(\h)", R"(\bx)", R"([\W])", "[a[b]]", "[a&&b]", "a{2}+", "(?m:.)", "(?s)."}) {
    EXPECT_THROW(pcre2_expression(expression, "test"), Error) << expression;
  }
  for (const char* expression : {R"(\p{L}+)", R"([\b\[&])", "[[:alpha:]]", R"(\[[a]+)", "a{2,3}",
                                 R"(\x{41}+)", R"([]a[:digit:]]+)"}) {
    EXPECT_EQ(pcre2_expression(expression, "test"), expression);
  }
}

TEST(Pattern, a_broken_expression_is_refused_with_its_place) {
  for (const char* expression : {"(a", "[a", R"(\p{Nonsense})", "*", R"(\p{L)", "[[:alpha", "\\"}) {
    EXPECT_ERROR(Pattern::regex(expression, "file: key"),
                 "file: key: expected a regular expression");
  }
}

}  // namespace
}  // namespace hypenet
