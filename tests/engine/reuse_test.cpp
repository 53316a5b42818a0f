// What is kept of prompts does not show in answers: with reuse, without, after eviction, from any
// tier, paused, attached or cancelled, they have the same bits. Pages and slots add up at each
// step.
#include "tests/engine/reuse.h"

#include <gmock/gmock.h>

#include <map>

namespace hypenet {
namespace {

/// Requests as of people who go on, edit, branch and ask again.
class Talks {
 public:
  explicit Talks(uint64_t seed) : random_(seed) {}

  Request next() {
    Talk talk;
    if (!talks_.empty() && random_.below(5) > 0) {
      talk = talks_[static_cast<size_t>(random_.below(std::ssize(talks_)))];
      if (random_.below(3) == 0) cut(talk);
    }
    if (talk.tokens.empty() || random_.below(6) > 0) add_turn(talk);
    Request request;
    request.prompt = talk.tokens, request.marks = talk.marks;
    request.options.max_tokens = 1 + random_.below(30);
    if (random_.below(2) == 0) {
      request.options.sampling = {.temperature = 1, .top_k = 50, .seed = random_.next()};
    }
    return request;
  }

  /// An answer becomes history that others go on from.
  void ended(const Request& request, const std::vector<int32_t>& answer) {
    Talk talk{request.prompt, request.marks};
    talk.tokens.insert(talk.tokens.end(), answer.begin(), answer.end());
    if (talk.tokens.size() < 500) talks_.push_back(talk);
  }

  Random& random() { return random_; }

 private:
  struct Talk {
    std::vector<int32_t> tokens;
    std::vector<PromptMark> marks;
  };

  void add_turn(Talk& talk) {
    const auto kind = talk.tokens.empty() ? PromptMark::Kind::kClient : PromptMark::Kind::kTurn;
    if (!talk.tokens.empty()) talk.marks.push_back({std::ssize(talk.tokens), kind});
    const auto ids = random_ids(1 + random_.below(150), random_);
    talk.tokens.insert(talk.tokens.end(), ids.begin(), ids.end());
    if (random_.below(4) == 0) {
      talk.marks.push_back({std::ssize(talk.tokens), PromptMark::Kind::kClient});
    }
    if (std::ranges::count(talk.marks, PromptMark::Kind::kClient, &PromptMark::kind) > 16) {
      talk.marks.clear();
    }
  }

  void cut(Talk& talk) {
    talk.tokens.resize(static_cast<size_t>(1 + random_.below(std::ssize(talk.tokens))));
    std::erase_if(talk.marks,
                  [&](const PromptMark& mark) { return mark.position > std::ssize(talk.tokens); });
  }

  Random random_;
  std::vector<Talk> talks_;
};

/// Runs so many requests, some of them cancelled, in an engine that is checked after every step.
std::vector<Found> run_talks(Engine& engine, Talks& talks, int64_t count, ReuseMode mode) {
  std::map<int64_t, Found> found;
  int64_t submitted = 0;
  while (submitted < count || !engine.is_idle()) {
    Random& random = talks.random();
    const int64_t at_once = random.below(4) == 0 ? 3 : 1;
    for (int64_t i = 0; i < at_once && submitted < count && random.below(4) == 0; ++i) {
      Request request = talks.next();
      request.reuse = mode;
      const int64_t same = random.below(4) == 0 ? 3 : 1;  // the same prompt, asked by several
      for (int64_t j = 0; j < same && submitted < count; ++j, ++submitted) {
        request.options.sampling.seed += 1;
        found[engine.submit(request)].request = request;
      }
    }
    for (const Event& event : engine.step()) {
      Found& one = found.at(event.sequence);
      take(event, one);
      if (event.finish != FinishReason::kNone) talks.ended(one.request, one.completion.ids);
    }
    engine.check();
    for (auto& [number, one] : found) {
      if (one.completion.finish != FinishReason::kNone || one.is_cancelled) continue;
      if (random.below(150) == 0) engine.cancel(number), one.is_cancelled = true;
      engine.check();
    }
  }
  std::vector<Found> all;
  for (auto& [number, one] : found) all.push_back(std::move(one));
  return all;
}

void expect_begins_as(const Found& found, const Completion& expected, const std::string& what) {
  const size_t count = found.completion.ids.size();
  ASSERT_LE(count, expected.ids.size()) << what;
  if (!found.is_cancelled) {
    ASSERT_EQ(count, expected.ids.size()) << what;
  }
  for (size_t i = 0; i < count; ++i) {
    ASSERT_EQ(found.completion.ids[i], expected.ids[i]) << what << " token " << i;
    ASSERT_EQ(found.completion.logprobs[i], expected.logprobs[i]) << what << " token " << i;
  }
}

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
