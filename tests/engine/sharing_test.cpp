// What is read once for many, what gives way to whom, and what is told about it.
#include <map>

#include "tests/engine/reuse.h"
#include "tests/support/expect_error.h"

namespace hypenet {
namespace {

using enum PromptMark::Kind;
using testing::ElementsAreArray;

constexpr Budget kRoomy{.pages = 200, .snapshots = 160};

class Sharing : public Reuse {
 protected:
  /// What each request gets, run side by side; `on_step` may look or cancel after each step.
  std::vector<Found> run(Engine& engine, const std::vector<Request>& requests,
                         const std::function<void(const std::vector<int64_t>&)>& on_step = {}) {
    std::map<int64_t, Found> found;
    std::vector<int64_t> numbers;
    for (const Request& request : requests) {
      numbers.push_back(engine.submit(request));
      found[numbers.back()].request = request;
    }
    while (!engine.is_idle()) {
      for (const Event& event : engine.step()) take(event, found.at(event.sequence));
      engine.check();
      if (on_step) on_step(numbers);
    }
    std::vector<Found> all;
    for (auto& [number, one] : found) all.push_back(std::move(one));
    return all;
  }

  Found run(Engine& engine, const Request& request) { return run(engine, std::vector{request})[0]; }

  void expect_as_alone(const std::vector<Found>& all) {
    for (const Found& found : all) {
      const Completion expected = alone(found.request);
      EXPECT_THAT(found.completion.ids, ElementsAreArray(expected.ids));
      EXPECT_THAT(found.completion.logprobs, ElementsAreArray(expected.logprobs));
      EXPECT_EQ(found.completion.finish, expected.finish);
    }
  }

  Request request(std::vector<int32_t> prompt, int64_t tokens = 6) const {
    Request request;
    request.prompt = std::move(prompt);
    request.options.max_tokens = tokens;
    request.reuse = ReuseMode::kExact;
    return request;
  }

  std::vector<int32_t> joined(std::vector<int32_t> first, int64_t more) {
    const auto ids = random_ids(more, random_);
    first.insert(first.end(), ids.begin(), ids.end());
    return first;
  }

  Random random_{7};
};

TEST_P(Sharing, a_prompt_that_goes_on_resumes_from_the_last_cut) {
  Engine engine(model_, options(kRoomy));
  const auto first = random_ids(300, random_);
  EXPECT_EQ(run(engine, request(first)).report->reused, 0);
  const auto again = run(engine, request(first));
  EXPECT_EQ(again.report->reused, 256) << "chunks of 128";
  EXPECT_EQ(again.report->tier, CacheTier::kDevice);
  EXPECT_EQ(again.report->mode, ReuseMode::kExact);
  const auto longer = run(engine, request(joined(first, 200)));
  EXPECT_EQ(longer.report->reused, 256);
  EXPECT_EQ(longer.report->alike, 256) << "what is kept of the first one";
}

TEST_P(Sharing, the_last_token_is_always_computed) {
  Engine engine(model_, options(kRoomy));
  const auto prompt = random_ids(256, random_);
  run(engine, request(prompt));
  EXPECT_EQ(run(engine, request(prompt)).report->reused, 128);
  EXPECT_EQ(run(engine, request(joined(prompt, 1))).report->reused, 256);
}

TEST_P(Sharing, many_with_one_beginning_read_it_once) {
  Engine engine(model_, options(kRoomy));
  const auto beginning = random_ids(500, random_);
  std::vector<Request> requests;
  for (int i = 0; i < 32; ++i) {
    requests.push_back(request(joined(beginning, 30 + i)));
    requests.back().marks = {{500, kTurn}};
  }
  const auto all = run(engine, requests);
  EXPECT_EQ(engine.stats().prefilled_tokens, 500 + 32 * 30 + 31 * 16);
  for (size_t i = 1; i < all.size(); ++i) EXPECT_EQ(all[i].report->reused, 500) << i;
  expect_as_alone({all[0], all[1], all[31]});
}

TEST_P(Sharing, equal_prompts_are_read_once_to_their_end) {
  for (const auto& layers : {std::vector{&kLightningMixer, &kAttentionMixer},
                             std::vector{&kAttentionMixer, &kAttentionMixer},
                             std::vector{&kLightningMixer, &kLightningMixer}}) {
    make_model({layers.begin(), layers.end()});
    Engine engine(model_, options(kRoomy));
    const auto prompt = random_ids(331, random_);
    std::vector<Request> requests(kSlots, request(prompt, 70));
    for (size_t i = 0; i < requests.size(); ++i) {
      requests[i].options.sampling = {.temperature = 1, .seed = 100 + i};
      requests[i].tells_progress = true;
    }
    const auto all = run(engine, requests);
    EXPECT_EQ(engine.stats().prefilled_tokens, 331);
    EXPECT_EQ(all[1].report->reused, 331);
    EXPECT_EQ(all[1].read.back(), 331);
    EXPECT_NE(all[0].completion.ids, all[1].completion.ids);
    expect_as_alone(all);
  }
}

TEST_P(Sharing, equal_prompts_beyond_the_slots_go_on_from_the_last_cut) {
  Engine engine(model_, options(kRoomy));
  const auto all = run(engine, std::vector<Request>(2 * kSlots, request(random_ids(331, random_))));
  EXPECT_EQ(engine.stats().prefilled_tokens, 331 + kSlots * (331 - 256));
  expect_as_alone(all);
}

TEST_P(Sharing, who_waits_for_a_cancelled_one_takes_over_from_its_last_cut) {
  Engine engine(model_, options(kRoomy));
  const auto beginning = random_ids(600, random_);
  const std::vector<Request> requests = {request(joined(beginning, 5)),
                                         request(joined(beginning, 9))};
  int64_t steps = 0;
  const auto all = run(engine, requests, [&](const auto& numbers) {
    if (++steps == 2) engine.cancel(numbers[0]);
  });
  EXPECT_EQ(all[0].completion.finish, FinishReason::kCancelled);
  EXPECT_EQ(all[1].report->reused, 256);
  EXPECT_EQ(engine.stats().prefilled_tokens, 609);
  expect_as_alone({all[1]});
}

TEST_P(Sharing, answers_that_outgrow_the_memory_are_paused_and_go_on) {
  EngineOptions tight = options({.pages = 14, .snapshots = 4});
  tight.reserved_answer = 1;
  for (const int64_t kept : {int64_t{0}, tight.cache_bytes}) {
    tight.cache_bytes = kept;
    tight.memory_bytes = (kSlots + (kept > 0 ? 4 : 0)) * state_bytes_ + 14 * page_bytes_;
    Engine engine(model_, tight);
    std::vector<Request> requests;
    for (int64_t i = 0; i < 6; ++i) {
      requests.push_back(request(random_ids(20 + 90 * (i % 3), random_), 200 + 50 * i));
      requests.back().options.sampling = {
          .temperature = 1, .repetition_penalty = 1.1, .seed = static_cast<uint64_t>(i)};
    }
    int64_t paused = 0;
    const auto all = run(engine, requests,
                         [&](const auto&) { paused = std::max(paused, engine.stats().paused); });
    EXPECT_GT(paused, 0);
    EXPECT_GT(engine.stats().pauses, 0);
    EXPECT_EQ(engine.stats().pages_used, 0);
    expect_as_alone(all);
  }
}

TEST_P(Sharing, paused_ones_can_be_cancelled) {
  EngineOptions tight = options({.pages = 10, .snapshots = 2});
  tight.reserved_answer = 1;
  Engine engine(model_, tight);
  const auto all = run(engine, std::vector<Request>(4, request(random_ids(10, random_), 300)),
                       [&](const auto& numbers) {
                         if (engine.stats().paused == 0) return;
                         engine.cancel(numbers[3]), engine.cancel(numbers[2]);
                       });
  EXPECT_EQ(all[3].completion.finish, FinishReason::kCancelled);
  expect_as_alone({all[0], all[1]});
}

TEST_P(Sharing, only_requests_of_one_salt_share) {
  Request mine = request(random_ids(2300, random_), 2);
  EngineOptions large = options(kRoomy);
  large.max_context = 0;
  Engine roomy(model_, large);
  mine.salt = "a";
  run(roomy, mine);
  EXPECT_EQ(run(roomy, mine).report->reused, 2176);
  mine.salt = "b";
  const auto other = run(roomy, mine);
  EXPECT_EQ(other.report->reused, 0);
  EXPECT_EQ(other.report->miss, ReuseMiss::kSalt);
  EXPECT_GE(other.report->alike, 2176);
  EXPECT_EQ(roomy.stats().cache.misses[static_cast<size_t>(ReuseMiss::kSalt)], 1);
}

TEST_P(Sharing, why_nothing_was_reused_is_told) {
  EngineOptions few = options({.pages = 60, .snapshots = 1});
  few.max_context = 0;
  Engine engine(model_, few);
  const auto first = random_ids(2200, random_);
  EXPECT_EQ(run(engine, request(first, 2)).report->miss, ReuseMiss::kNone);
  EXPECT_EQ(run(engine, request({first.begin(), first.begin() + 100}, 2)).report->miss,
            ReuseMiss::kShort);
  run(engine, request(random_ids(300, random_), 2));  // takes the snapshot
  const auto again = run(engine, request(joined(first, 2), 2));
  EXPECT_EQ(again.report->reused, 0);
  EXPECT_EQ(again.report->miss, ReuseMiss::kEvicted);
  EXPECT_TRUE(is_costly(*again.report));
  EXPECT_EQ(engine.stats().cache.misses[static_cast<size_t>(ReuseMiss::kEvicted)], 1);
  Request off = request(joined(first, 3), 2);
  off.reuse = ReuseMode::kOff;
  EXPECT_EQ(run(engine, off).report->miss, ReuseMiss::kOff);
}

TEST_P(Sharing, long_prompts_keep_few_snapshots_that_lie_denser_towards_the_end) {
  EngineOptions large = options(kRoomy);
  large.max_context = 0, large.prefill_chunk = 64;
  Engine engine(model_, large);
  run(engine, request(random_ids(64 * 50, random_), 2));
  EXPECT_LE(engine.stats().cache.device.snapshots, 14);
  EXPECT_GE(engine.stats().cache.device.snapshots, 6);
  EXPECT_EQ(engine.stats().cache.snapshots_taken, 50);
}

TEST_P(Sharing, a_cut_that_was_thinned_is_taken_again_where_prompts_part) {
  EngineOptions large = options(kRoomy);
  large.max_context = 0, large.prefill_chunk = 64;
  Engine engine(model_, large);
  const auto first = random_ids(64 * 50, random_);
  run(engine, request(first, 2));
  for (int64_t common = 64 * 20; common < 64 * 30; common += 64) {
    const std::vector<int32_t> beginning(first.begin(), first.begin() + common);
    run(engine, request(joined(beginning, 10), 2));
    const auto second = run(engine, request(joined(beginning, 10), 2));
    EXPECT_EQ(second.report->reused, common);
  }
}

TEST_P(Sharing, a_short_prompt_waits_for_one_piece_of_a_long_one) {
  Engine engine(model_, plain());
  const int64_t longer = engine.submit(request(random_ids(1200, random_)));
  engine.step();
  const int64_t shorter = engine.submit(request(random_ids(50, random_)));
  std::vector<int64_t> first;
  while (!engine.is_idle()) {
    for (const Event& event : engine.step()) {
      if (event.report && event.finish == FinishReason::kNone) first.push_back(event.sequence);
    }
    if (!first.empty()) break;
  }
  EXPECT_THAT(first, testing::ElementsAre(shorter));
  EXPECT_LE(engine.stats().prefilled_tokens, 3 * 128 + 50);
  engine.cancel(longer);
}

TEST_P(Sharing, progress_and_times_are_told) {
  Engine engine(model_, options(kRoomy));
  Request asked = request(random_ids(300, random_));
  asked.tells_progress = true;
  const auto first = run(engine, asked);
  EXPECT_THAT(first.read, testing::ElementsAre(128, 256, 300));
  EXPECT_THAT(run(engine, asked).read, testing::ElementsAre(300));
  asked.tells_progress = false;
  EXPECT_THAT(run(engine, asked).read, testing::IsEmpty());
  EXPECT_LE(first.report->queued, first.report->admitted);
  EXPECT_LE(first.report->admitted, first.report->first_token);
  EXPECT_EQ(first.report->prompt, 300);
}

TEST_P(Sharing, a_saved_prefix_goes_on_in_another_engine_with_the_same_bits) {
  const Budget host{.pages = 60, .snapshots = 2, .host_snapshots = 10, .host_pages = 20};
  const auto first = random_ids(400, random_);
  Engine engine(model_, options(kRoomy));
  EXPECT_FALSE(engine.save_prefix(first, "").has_value());
  run(engine, request(first));
  const auto saved = engine.save_prefix(joined(first, 3), "");
  ASSERT_TRUE(saved.has_value());
  EXPECT_EQ(saved->tokens.size(), 384U);
  EXPECT_EQ(saved->pieces.size(), 3U);
  EXPECT_EQ(saved->pages.size(), 6U);
  for (const Budget& budget : {host, kRoomy}) {
    Engine other(model_, options(budget));
    EXPECT_EQ(other.restore_prefix(*saved, "s"), 384);
    other.check();
    Request on = request(joined(first, 9));
    on.salt = "s";
    const auto found = run(other, on);
    EXPECT_EQ(found.report->reused, 384);
    EXPECT_EQ(found.report->tier, budget.host_pages > 0 ? CacheTier::kHost : CacheTier::kDevice);
    expect_as_alone({found});
  }
  auto wrong = *saved;
  wrong.pages.pop_back();
  EXPECT_ERROR(engine.restore_prefix(wrong, ""), "restore: expected 6 pages, found 5");
  wrong = *saved, wrong.tokens.pop_back();
  EXPECT_ERROR(engine.restore_prefix(wrong, ""), "restore: expected pieces of 383 tokens");
  wrong = *saved;
  wrong.pieces.resize(4, wrong.pieces.front());  // whose sum is 2^64, and looks like none
  for (auto& piece : wrong.pieces) piece.tokens = int64_t{1} << 62;
  EXPECT_ERROR(engine.restore_prefix(wrong, ""), "restore: expected pieces of 384 tokens");
  wrong = *saved, wrong.pages[0] = torch::zeros({3}, torch::kUInt8);
  EXPECT_ERROR(engine.restore_prefix(wrong, ""), "restore: a page: expected");
}

TEST_P(Sharing, a_cleared_cache_forgets_what_nobody_uses) {
  Engine engine(model_, options(kRoomy));
  const auto prompt = random_ids(300, random_);
  run(engine, request(prompt));
  engine.clear_cache();
  EXPECT_EQ(engine.stats().pages_cached, 0);
  EXPECT_EQ(run(engine, request(prompt)).report->reused, 0);
  int64_t steps = 0;
  const auto all = run(engine, {request(joined(prompt, 600))}, [&](const auto&) {
    if (++steps == 2) engine.clear_cache();
  });
  expect_as_alone(all);
}

INSTANTIATE_TEST_SUITE_P(targets, Sharing, testing::ValuesIn(kTargets),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace hypenet
