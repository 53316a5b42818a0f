// Words that were meant.
#include "cli/suggestion.h"

#include <gtest/gtest.h>

namespace hypenet {
namespace {

TEST(Suggestion, distance_counts_letters_and_swaps) {
  EXPECT_EQ(edit_distance("", ""), 0U);
  EXPECT_EQ(edit_distance("", "abc"), 3U);
  EXPECT_EQ(edit_distance("eval", "eval"), 0U);
  EXPECT_EQ(edit_distance("evel", "eval"), 1U);
  EXPECT_EQ(edit_distance("eavl", "eval"), 1U);
  EXPECT_EQ(edit_distance("evall", "eval"), 1U);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3U);
}

TEST(Suggestion, the_nearest_is_meant_and_nothing_far) {
  const std::vector<std::string> commands = {"convert", "compare", "eval", "generate", "chat"};
  EXPECT_EQ(nearest("evel", commands), "eval");
  EXPECT_EQ(nearest("gen", commands), "generate");  // a beginning
  EXPECT_EQ(nearest("covnert", commands), "convert");
  EXPECT_EQ(nearest("co", commands), std::nullopt);
  EXPECT_EQ(nearest("fly", commands), std::nullopt);
  EXPECT_EQ(nearest("", commands), std::nullopt);
}

}  // namespace
}  // namespace hypenet
