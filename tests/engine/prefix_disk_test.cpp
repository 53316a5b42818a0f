// What a store has of prompts does not show in answers: after eviction, after restarts, when it
// fails, and whatever its size. It is kept to its budget, and salts keep apart.
#include <gmock/gmock.h>

#include <thread>

#include "tests/engine/memory_store.h"
#include "tests/engine/talks.h"

namespace hypenet {
namespace {

constexpr int64_t kMuch = int64_t{1} << 30;

class PrefixDisk : public Reuse {
 protected:
  Engine engine_with(const std::shared_ptr<MemoryStore>& store, const Budget& budget,
                     int64_t most = kMuch) {
    EngineOptions some = options(budget);
    some.reserved_answer = 8;
    Engine engine(model_, some);
    engine.use_store(store, most);
    engine.check();
    return engine;
  }

  Request long_request(int64_t length, uint64_t seed) {
    Random random(seed);
    Request request;
    request.prompt = random_ids(length, random);
    request.options.max_tokens = 4;
    return request;
  }

  /// Runs one to its end; checks that it has the bits of one alone.
  Found ask(Engine& engine, const Request& request) {
    Found found;
    found.request = request;
    engine.submit(request);
    while (!engine.is_idle()) {
      for (const Event& event : engine.step()) take(event, found);
      engine.check();
    }
    expect_begins_as(found, alone(request), "asked");
    return found;
  }

  /// An engine that read one prompt, kept it, and ended.
  void fill(const std::shared_ptr<MemoryStore>& store, const Budget& budget,
            const Request& request) {
    Engine engine = engine_with(store, budget);
    ask(engine, request);
    engine.store_kept();
  }

  /// Over several engines that have one store, one after the other.
  void expect_no_difference(ReuseMode mode, int64_t one_fails_of) {
    const Budget budgets[] = {
        {.pages = 22, .snapshots = 3},
        {.pages = 22, .snapshots = 2, .host_snapshots = 6, .host_pages = 12},
        {.pages = 40, .snapshots = 0, .host_snapshots = 4, .host_pages = 20},
    };
    int64_t seed = 0, disk_hits = 0, known = 0;
    for (const Budget& budget : budgets) {
      for (const int64_t most : {kMuch, 20 * (page_bytes_ + state_bytes_) + 200'000}) {
        const auto store = std::make_shared<MemoryStore>();
        Talks talks(static_cast<uint64_t>(seed++));
        for (int restart = 0; restart < 2; ++restart) {
          Engine engine = engine_with(store, budget, most);
          known += engine.stats().cache.disk.page_bytes;
          store->one_fails_of = one_fails_of;
          for (const Found& found : run_talks(engine, talks, 10, mode)) {
            expect_begins_as(found, alone(found.request), testing::PrintToString(seed));
            if (testing::Test::HasFatalFailure()) return;
          }
          const CacheStats stats = engine.stats().cache;
          disk_hits += stats.disk_hit_tokens;
          EXPECT_EQ(engine.stats().pages_used, 0);
          EXPECT_LE(stats.disk.page_bytes + stats.disk.snapshot_bytes, most);
          if (restart == 0) engine.store_kept();
          engine.check();
          EXPECT_LE(store->bytes(), most);
          store->one_fails_of = 0;
        }
      }
    }
    EXPECT_GT(known, 0);
    EXPECT_GT(disk_hits, 0);
  }
};

TEST_P(PrefixDisk, a_hybrid_at_the_grid_does_not_show) {
  expect_no_difference(ReuseMode::kExact, 0);
}

TEST_P(PrefixDisk, a_hybrid_anywhere_does_not_show_on_a_cpu) {
  if (!is_cpu()) GTEST_SKIP() << "prefill and decode sum in other orders";
  expect_no_difference(ReuseMode::kNearest, 0);
}

TEST_P(PrefixDisk, failures_do_not_show) { expect_no_difference(ReuseMode::kExact, 4); }

TEST_P(PrefixDisk, a_transformer_does_not_show) {
  make_model({&kAttentionMixer, &kAttentionMixer});
  expect_no_difference(ReuseMode::kExact, 0);
  if (is_cpu()) expect_no_difference(ReuseMode::kNearest, 6);
}

TEST_P(PrefixDisk, states_alone_does_not_show) {
  make_model({&kLightningMixer, &kLightningMixer});
  expect_no_difference(ReuseMode::kExact, 0);
  if (is_cpu()) expect_no_difference(ReuseMode::kNearest, 6);
}

TEST_P(PrefixDisk, a_prompt_outlives_the_engine) {
  const auto store = std::make_shared<MemoryStore>();
  const Budget budget{.pages = 60, .snapshots = 20};
  const Request request = long_request(600, 1);
  {
    Engine engine = engine_with(store, budget);
    ask(engine, request);
    EXPECT_EQ(store->writes, 0);  // nothing gave way
    engine.store_kept();
    EXPECT_GT(store->writes, 0);
    const int64_t writes = store->writes;
    engine.store_kept();
    EXPECT_EQ(store->writes, writes);  // it has it all
  }
  Engine engine = engine_with(store, budget);
  EXPECT_GT(engine.stats().cache.disk.snapshots, 0);
  EXPECT_EQ(store->reads, 0);  // on use alone
  const Found found = ask(engine, request);
  EXPECT_EQ(found.report->tier, CacheTier::kDisk);
  EXPECT_GE(found.report->reused, 512);
  EXPECT_EQ(engine.stats().cache.disk_hit_tokens, found.report->reused);
  const Found again = ask(engine, request);
  EXPECT_EQ(again.report->tier, CacheTier::kDevice);
  EXPECT_EQ(again.report->reused, found.report->reused);
}

TEST_P(PrefixDisk, what_gives_way_is_written_behind) {
  const auto store = std::make_shared<MemoryStore>();
  Engine engine = engine_with(store, {.pages = 24, .snapshots = 10});
  const Request request = long_request(600, 1);
  ask(engine, request);
  for (uint64_t seed = 2; seed < 5; ++seed) ask(engine, long_request(700, seed));
  const Found found = ask(engine, request);
  EXPECT_EQ(found.report->tier, CacheTier::kDisk);
  EXPECT_GE(found.report->reused, 512);
}

TEST_P(PrefixDisk, other_salts_do_not_find_it) {
  const auto store = std::make_shared<MemoryStore>();
  const Budget budget{.pages = 60, .snapshots = 20};
  Request request = long_request(600, 1);
  request.salt = "alice";
  fill(store, budget, request);
  for (const StoredPiece& piece : store->list()) {
    EXPECT_EQ(piece.salt, salt_key("alice"));
    EXPECT_EQ(piece.salt.size(), 64U);
  }
  Engine engine = engine_with(store, budget);
  Request other = request;
  for (const char* salt : {"", "bob", "alice\n"}) {
    other.salt = salt;
    EXPECT_EQ(ask(engine, other).report->reused, 0) << salt;
  }
  EXPECT_GE(ask(engine, request).report->reused, 512);
}

TEST_P(PrefixDisk, what_cannot_be_read_is_computed_anew_and_told) {
  const auto store = std::make_shared<MemoryStore>();
  const Budget budget{.pages = 60, .snapshots = 20};
  const Request request = long_request(600, 1);
  fill(store, budget, request);
  Engine engine = engine_with(store, budget);
  store->one_fails_of = 1;
  EXPECT_EQ(ask(engine, request).report->reused, 0);
  EXPECT_EQ(store->lines().size(), 1U);
  store->one_fails_of = 0;
  EXPECT_GE(ask(engine, request).report->reused, 512);  // of memory
}

TEST_P(PrefixDisk, the_budget_keeps_what_is_worth_most) {
  const auto store = std::make_shared<MemoryStore>();
  const int64_t most = 8 * (2 * page_bytes_ + state_bytes_ + 30'000);
  const Budget budget{.pages = 200, .snapshots = 60};
  const Request often = long_request(500, 1);
  {
    Engine engine = engine_with(store, budget, most);
    for (int i = 0; i < 20; ++i) ask(engine, often);
    for (uint64_t seed = 2; seed < 8; ++seed) ask(engine, long_request(500, seed));
    engine.store_kept();
    EXPECT_GT(store->files(), 0U);
    EXPECT_LE(store->bytes(), most);
  }
  Engine engine = engine_with(store, budget, most);
  EXPECT_GE(ask(engine, often).report->reused, 384);
  Engine smaller = engine_with(store, budget, 1);
  EXPECT_EQ(smaller.stats().cache.disk.page_bytes, 0);
  EXPECT_EQ(ask(smaller, often).report->reused, 0);
}

TEST_P(PrefixDisk, pieces_without_their_parents_are_removed) {
  const auto store = std::make_shared<MemoryStore>();
  const Budget budget{.pages = 60, .snapshots = 20};
  fill(store, budget, long_request(600, 1));
  for (const StoredPiece& piece : store->list()) {
    if (piece.parent.empty()) store->remove(piece.id);
  }
  ASSERT_GT(store->files(), 0U);
  Engine engine = engine_with(store, budget);
  EXPECT_EQ(ask(engine, long_request(600, 1)).report->reused, 0);
  for (int i = 0; i < 500 && store->files() > 0; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_EQ(store->files(), 0U);
}

TEST_P(PrefixDisk, clearing_forgets_the_store_too) {
  const auto store = std::make_shared<MemoryStore>();
  Engine engine = engine_with(store, {.pages = 60, .snapshots = 20});
  ask(engine, long_request(600, 1));
  engine.store_kept();
  engine.clear_cache();
  engine.check();
  EXPECT_EQ(engine.stats().cache.nodes, 0);
  EXPECT_EQ(engine.stats().cache.disk.page_bytes, 0);
  EXPECT_EQ(ask(engine, long_request(600, 1)).report->reused, 0);
}

TEST_P(PrefixDisk, a_request_that_leaves_while_it_waits_leaves_nothing) {
  const auto store = std::make_shared<MemoryStore>();
  const Budget budget{.pages = 60, .snapshots = 20};
  const Request request = long_request(600, 1);
  fill(store, budget, request);
  Engine engine = engine_with(store, budget);
  const int64_t number = engine.submit(request);
  engine.step();
  engine.cancel(number);
  engine.check();
  EXPECT_GE(ask(engine, request).report->reused, 512);
}

TEST_P(PrefixDisk, a_session_is_saved_from_the_disk) {
  const auto store = std::make_shared<MemoryStore>();
  const Budget budget{.pages = 60, .snapshots = 20};
  const Request request = long_request(600, 1);
  fill(store, budget, request);
  Engine engine = engine_with(store, budget);
  const auto saved = engine.save_prefix(request.prompt, "");
  ASSERT_TRUE(saved);
  EXPECT_GE(saved->tokens.size(), 512U);
  engine.check();
}

INSTANTIATE_TEST_SUITE_P(targets, PrefixDisk, testing::ValuesIn(kTargets),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace hypenet
