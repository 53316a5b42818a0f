// Lists of one, two and more names.
#include "base/alternatives.h"

#include <gtest/gtest.h>

#include <vector>

namespace hypenet {
namespace {

TEST(Alternatives, the_last_two_are_joined_by_a_word) {
  const std::vector<std::string> names = {"a", "b", "c"};
  EXPECT_EQ(alternatives({}), "");
  EXPECT_EQ(alternatives({names.data(), 1}), "a");
  EXPECT_EQ(alternatives({names.data(), 2}), "a or b");
  EXPECT_EQ(alternatives(names), "a, b or c");
}

}  // namespace
}  // namespace hypenet
