// The tree against lists of what was kept, with handles that stand for nothing.
#include "engine/prefix_tree.h"

#include <gmock/gmock.h>

#include <set>

#include "base/random.h"
#include "engine/decode_share.h"
#include "engine/page_pool.h"

namespace hypenet {
namespace {

constexpr PrefixTree::Sizes kSizes{.page_tokens = 4, .page_bytes = 100, .state_bytes = 300};

/// Pages and a snapshot on the device, as if a sequence had read up to the node.
void fill(PrefixTree& tree, PrefixNode& node, bool with_snapshot = true) {
  for (PrefixNode* place : path_to(node)) {
    if (place->pages_in == CacheTier::kDevice) continue;
    place->pages.assign(static_cast<size_t>(tree.page_count(*place)), 1);
    place->pages_in = CacheTier::kDevice;
  }
  if (with_snapshot) node.snapshot_in = CacheTier::kDevice;
}

std::vector<int32_t> random_ids(int64_t length, Random& random) {
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < length; ++i) ids.push_back(static_cast<int32_t>(random.below(3)));
  return ids;
}

/// Cuts that are a function of the tokens before them.
std::vector<int64_t> cuts_of(const std::vector<int32_t>& tokens) {
  std::vector<int64_t> cuts;
  int64_t last = 0;
  for (int64_t i = 1; i <= std::ssize(tokens); ++i) {
    const bool is_turn = tokens[static_cast<size_t>(i - 1)] == 0 && i - last >= 3;
    if (is_turn || i - last == 8) cuts.push_back(last = i);
  }
  return cuts;
}

PrefixTree::Match find(PrefixTree& tree, const std::vector<int32_t>& tokens, ReuseMode mode) {
  const auto cuts = cuts_of(tokens);
  return tree.find("",
                   {.tokens = tokens, .cuts = cuts, .mode = mode, .limit = std::ssize(tokens) - 1});
}

int64_t common(const std::vector<int32_t>& a, const std::vector<int32_t>& b) {
  return std::ranges::mismatch(a, b).in1 - a.begin();
}

TEST(PrefixTreeTest, finds_the_deepest_snapshot_before_where_prompts_part) {
  Random random(1);
  for (int round = 0; round < 60; ++round) {
    PrefixTree tree(kSizes);
    std::vector<std::vector<int32_t>> known;
    std::set<std::vector<int32_t>> snapshots;  // the tokens before each
    for (int i = 0; i < 30; ++i) {
      std::vector<int32_t> prompt;
      if (!known.empty() && random.below(4) > 0) {
        prompt = known[static_cast<size_t>(random.below(std::ssize(known)))];
        prompt.resize(static_cast<size_t>(random.below(std::ssize(prompt)) + 1));
      }
      const auto more = random_ids(1 + random.below(20), random);
      prompt.insert(prompt.end(), more.begin(), more.end());
      int64_t alike = 0, expected = 0;
      for (const auto& other : known) {
        const auto cuts = cuts_of(other);
        if (!cuts.empty()) alike = std::max(alike, std::min(common(prompt, other), cuts.back()));
      }
      for (const int64_t cut : cuts_of(prompt)) {
        if (cut >= std::ssize(prompt)) continue;
        if (snapshots.contains({prompt.begin(), prompt.begin() + cut})) expected = cut;
      }
      for (const ReuseMode mode : {ReuseMode::kExact, ReuseMode::kNearest}) {
        const auto match = find(tree, prompt, mode);
        EXPECT_EQ(match.position, expected);
        EXPECT_EQ(match.alike, alike);
        EXPECT_EQ(match.node->end, expected);
      }
      PrefixNode* place = &tree.root("");
      for (const int64_t cut : cuts_of(prompt)) {
        place = &tree.extend(*place,
                             std::span(prompt).subspan(static_cast<size_t>(place->end),
                                                       static_cast<size_t>(cut - place->end)),
                             true);
        const bool with_snapshot = random.below(3) > 0;
        fill(tree, *place, with_snapshot);
        if (with_snapshot) snapshots.insert({prompt.begin(), prompt.begin() + cut});
        tree.check();
      }
      known.push_back(prompt);
    }
  }
}

TEST(PrefixTreeTest, other_cuts_of_the_same_tokens_are_others_unless_nearest_is_asked) {
  PrefixTree tree(kSizes);
  Random random(2);
  const auto tokens = random_ids(20, random);
  PrefixNode& ten = tree.extend(tree.root(""), std::span(tokens).first(10), true);
  fill(tree, ten);
  const std::vector<int64_t> cuts = {8, 16};
  const auto exact = tree.find("", {.tokens = tokens, .cuts = cuts, .limit = 19});
  EXPECT_EQ(exact.position, 0);
  EXPECT_EQ(exact.alike, 10);
  EXPECT_EQ(exact.miss, ReuseMiss::kShort);
  const auto nearest = tree.find("", {.tokens = tokens, .mode = ReuseMode::kNearest, .limit = 19});
  EXPECT_EQ(nearest.node, &ten);
  EXPECT_EQ(tree.find("", {.tokens = tokens, .mode = ReuseMode::kNearest, .limit = 9}).position, 0);
}

TEST(PrefixTreeTest, what_decode_left_is_not_exact_nor_what_stands_on_it) {
  PrefixTree tree(kSizes);
  const std::vector<int32_t> tokens(16, 1);
  PrefixNode& decoded = tree.extend(tree.root(""), std::span(tokens).first(8), false);
  PrefixNode& behind = tree.extend(decoded, std::span(tokens).first(8), true);
  EXPECT_FALSE(behind.is_exact);
  fill(tree, behind), fill(tree, decoded);
  const std::vector<int64_t> cuts = {8, 16};
  EXPECT_EQ(tree.find("", {.tokens = tokens, .cuts = cuts, .limit = 15}).position, 0);
  PrefixNode& prefilled = tree.extend(tree.root(""), std::span(tokens).first(8), true);
  EXPECT_NE(&prefilled, &decoded);
  tree.check();
}

TEST(PrefixTreeTest, without_states_any_whole_page_will_do_for_nearest) {
  PrefixTree tree({.page_tokens = 4, .page_bytes = 100});
  std::vector<int32_t> tokens(30, 1);
  PrefixNode& node = tree.extend(tree.root(""), tokens, true);
  fill(tree, node);
  tokens[22] = 2;
  const auto match = tree.find("", {.tokens = tokens, .mode = ReuseMode::kNearest, .limit = 29});
  EXPECT_EQ(match.position, 20);
  EXPECT_EQ(match.rest, &node);
  EXPECT_EQ(match.node, &tree.root(""));
}

TEST(PrefixTreeTest, thinning_keeps_the_last_four_marks_forks_and_growing_distances) {
  PrefixTree tree(kSizes);
  PrefixNode* place = &tree.root("");
  std::vector<PrefixNode*> nodes;
  Random random(3);
  for (int i = 0; i < 1000; ++i) {
    place = &tree.extend(*place, random_ids(4, random), true);
    fill(tree, *place);
    nodes.push_back(place);
    if (i == 100) place->is_marked = true;
    if (i == 152) tree.extend(*nodes[150], random_ids(5, random), true);
    for (PrefixNode* thin :
         tree.thinned(*place, nodes[std::min<size_t>(nodes.size() - 1, 300)], 0)) {
      thin->snapshot_in = CacheTier::kNone;
    }
  }
  const auto has = [&](size_t i) { return nodes[i]->snapshot_in != CacheTier::kNone; };
  EXPECT_TRUE(has(100) && has(150) && has(300));
  for (size_t i = 996; i < 1000; ++i) EXPECT_TRUE(has(i));
  int64_t count = 0, last = std::ssize(nodes);
  for (int64_t i = last - 1; i >= 0; --i) {
    if (!has(static_cast<size_t>(i))) continue;
    EXPECT_LE(last - i, std::max<int64_t>(2, std::ssize(nodes) - last)) << i;
    last = i, ++count;
  }
  EXPECT_LE(count, 2 * 10 + 7);
}

TEST(PrefixTreeTest, leaves_go_first_and_what_was_used_lately_stays) {
  PrefixTree tree(kSizes);
  std::vector<int32_t> a(8, 1), b(8, 2);
  PrefixNode& front = tree.extend(tree.root(""), a, true);
  PrefixNode& back = tree.extend(front, a, true);
  PrefixNode& other = tree.extend(tree.root(""), b, true);
  for (PrefixNode* node : {&front, &back, &other}) fill(tree, *node);
  const auto any = [](const PrefixNode&) { return true; };
  EXPECT_NE(tree.cheapest_leaf(CacheTier::kDevice, any), &front);
  EXPECT_EQ(tree.cheapest_leaf(CacheTier::kHost, any), nullptr);
  tree.age_to(10), tree.touch(back);
  EXPECT_EQ(tree.cheapest_leaf(CacheTier::kDevice, any), &other);
  tree.age_to(20), tree.touch(other);
  EXPECT_EQ(tree.cheapest_leaf(CacheTier::kDevice, any), &back);
}

TEST(PrefixTreeTest, forgets_the_oldest_of_what_is_empty) {
  PrefixTree tree(kSizes);
  std::vector<int32_t> a(8, 1), b(8, 2), c(8, 3);
  tree.extend(tree.extend(tree.root(""), a, true), a, true);
  PrefixNode& kept = tree.extend(tree.root(""), b, true);
  fill(tree, kept);
  PrefixNode& used = tree.extend(tree.root(""), c, true);
  used.users = 1;
  tree.forget(20);
  EXPECT_EQ(tree.tokens(), 16);
  tree.forget(0);
  EXPECT_EQ(tree.nodes().size(), 2U);
  tree.check();
}

TEST(DecodeShareTest, decode_gets_its_share_after_each_piece) {
  DecodeShare share(0.75);
  EXPECT_TRUE(share.allows_prefill());
  share.begins_prefill();
  EXPECT_FALSE(share.allows_prefill()) << "its time is not known yet";
  share.prefilled(1);
  for (int i = 0; i < 3; ++i) {
    EXPECT_FALSE(share.allows_prefill());
    share.decoded(1);
  }
  EXPECT_TRUE(share.allows_prefill());
  share.decoded(100);
  share.prefilled(1);
  EXPECT_FALSE(share.allows_prefill()) << "steps of before do not count";
}

TEST(DecodeShareTest, of_nothing_asks_for_one_step) {
  DecodeShare share(0);
  share.begins_prefill(), share.prefilled(1);
  EXPECT_TRUE(share.allows_prefill());
}

TEST(PagePoolTest, a_page_is_free_when_nobody_holds_it) {
  PagePool pool(2);
  EXPECT_EQ(pool.take(), 0);
  pool.hold(0);
  EXPECT_FALSE(pool.drop(0));
  EXPECT_EQ(pool.free(), 1);
  EXPECT_TRUE(pool.drop(0));
  pool.put_back(0);
  EXPECT_EQ(pool.free(), 2);
}

}  // namespace
}  // namespace hypenet
