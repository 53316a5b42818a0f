// Where requests go when there are several engines.
#include "serve/prefix_router.h"

#include <gtest/gtest.h>

#include <numeric>

#include "base/error.h"
#include "engine/prefix_store.h"

namespace hypenet {
namespace {

std::vector<int32_t> tokens(int32_t first, size_t count) {
  std::vector<int32_t> ids(count);
  std::iota(ids.begin(), ids.end(), first);
  return ids;
}

TEST(PrefixRouterTest, strangers_go_to_whoever_has_least_to_do) {
  PrefixRouter router(3);
  EXPECT_EQ(router.choose(tokens(0, 600), ""), 0U);
  EXPECT_EQ(router.choose(tokens(1000, 600), ""), 1U);
  EXPECT_EQ(router.choose(tokens(2000, 600), ""), 2U);
  router.ended(1);
  EXPECT_EQ(router.choose(tokens(3000, 600), ""), 1U);
}

TEST(PrefixRouterTest, a_conversation_stays_where_its_beginning_was_read) {
  PrefixRouter router(2);
  ASSERT_EQ(router.choose(tokens(5000, 300), ""), 0U);
  ASSERT_EQ(router.choose(tokens(0, 600), ""), 1U);
  router.ended(1);
  router.choose(tokens(7000, 300), "");
  auto longer = tokens(0, 600);
  const auto turn = tokens(9000, 600);
  longer.insert(longer.end(), turn.begin(), turn.end());
  EXPECT_EQ(router.choose(longer, ""), 1U);
  EXPECT_EQ(router.choose(longer, ""), 1U);
}

TEST(PrefixRouterTest, a_salt_keeps_prompts_apart) {
  PrefixRouter router(2);
  ASSERT_EQ(router.choose(tokens(0, 600), "a"), 0U);
  EXPECT_EQ(router.choose(tokens(0, 600), "b"), 1U);
}

TEST(PrefixRouterTest, a_known_beginning_does_not_outweigh_a_long_queue) {
  PrefixRouter router(2);
  size_t others = 0;
  for (int i = 0; i < 20; ++i) others += router.choose(tokens(0, 600), "");
  EXPECT_GT(others, 0U);
}

TEST(PrefixRouterTest, what_came_from_a_file_is_known) {
  PrefixRouter router(3);
  router.learn(2, tokens(0, 600), salt_key("a"));
  EXPECT_EQ(router.home_of(tokens(0, 700), "a"), 2U);
  EXPECT_EQ(router.home_of(tokens(0, 700), "b"), 0U);
  EXPECT_EQ(router.choose(tokens(0, 700), "a"), 2U);
  EXPECT_EQ(router.choose(tokens(0, 700), "b"), 0U);
}

TEST(PrefixRouterTest, an_engine_that_failed_gets_nothing) {
  PrefixRouter router(2);
  ASSERT_EQ(router.choose(tokens(0, 600), ""), 0U);
  router.failed(0);
  EXPECT_EQ(router.choose(tokens(0, 600), ""), 1U);
  router.failed(1);
  EXPECT_THROW(router.choose(tokens(0, 600), ""), Error);
}

}  // namespace
}  // namespace hypenet
