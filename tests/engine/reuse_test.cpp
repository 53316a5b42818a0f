// What is kept of prompts does not show in answers: with reuse, without, after eviction, from any
// tier, paused, attached or cancelled, they have the same bits. Pages and slots add up at each
// step.
#include "tests/engine/reuse.h"

#include <gmock/gmock.h>

#include "tests/engine/talks.h"

namespace hypenet {
namespace {

constexpr Budget kRoomy{.pages = 200, .snapshots = 160};
constexpr Budget kBudgets[] = {
    kRoomy,
    {.pages = 22, .snapshots = 3},
    {.pages = 40, .snapshots = 0, .host_snapshots = 30, .host_pages = 60},
    {.pages = 22, .snapshots = 2, .host_snapshots = 6, .host_pages = 12},
    {.pages = 20, .snapshots = 1, .host_snapshots = 1, .host_pages = 1},
};

class ReuseOf : public Reuse {
 protected:
  void expect_no_difference(ReuseMode mode) {
    int64_t seed = 0, host_hits = 0;
    for (const Budget& budget : kBudgets) {
      EngineOptions some = options(budget);
      some.reserved_answer = 8;
      Engine engine(model_, some);
      Talks talks(static_cast<uint64_t>(seed++));
      const auto all = run_talks(engine, talks, 30, mode);
      int64_t reused = 0, prompts = 0;
      for (const Found& found : all) {
        expect_begins_as(found, alone(found.request), testing::PrintToString(seed));
        if (testing::Test::HasFatalFailure()) return;
        if (!found.report || found.is_cancelled) continue;
        reused += found.report->reused, prompts += found.report->prompt;
      }
      const EngineStats stats = engine.stats();
      EXPECT_EQ(stats.pages_used, 0);
      EXPECT_EQ(stats.slots_used, 0);
      EXPECT_EQ(stats.running + stats.waiting + stats.paused, 0);
      EXPECT_LE(reused, stats.cache.device_hit_tokens + stats.cache.host_hit_tokens);
      EXPECT_LE(reused, prompts);
      if (seed == 1) {
        EXPECT_GT(reused, prompts / 10);
      }
      host_hits += stats.cache.host_hit_tokens;
      engine.clear_cache();
      engine.check();
      EXPECT_EQ(engine.stats().pages_cached, 0);
      EXPECT_EQ(engine.stats().cache.nodes, 0);
    }
    if (state_bytes_ > 0) {
      EXPECT_GT(host_hits, 0);
    }
  }
};

TEST_P(ReuseOf, a_hybrid_at_the_grid_does_not_show) { expect_no_difference(ReuseMode::kExact); }

TEST_P(ReuseOf, a_hybrid_anywhere_does_not_show_on_a_cpu) {
  if (!is_cpu()) GTEST_SKIP() << "prefill and decode sum in other orders";
  expect_no_difference(ReuseMode::kNearest);
}

TEST_P(ReuseOf, a_transformer_does_not_show) {
  make_model({&kAttentionMixer, &kAttentionMixer});
  expect_no_difference(ReuseMode::kExact);
  if (is_cpu()) expect_no_difference(ReuseMode::kNearest);
}

TEST_P(ReuseOf, states_alone_does_not_show) {
  make_model({&kLightningMixer, &kLightningMixer});
  expect_no_difference(ReuseMode::kExact);
  if (is_cpu()) expect_no_difference(ReuseMode::kNearest);
}

INSTANTIATE_TEST_SUITE_P(targets, ReuseOf, testing::ValuesIn(kTargets),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace hypenet
