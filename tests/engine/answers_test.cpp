// Each answer comes to whoever asked for it, and nothing is left behind.
#include "engine/answers.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <vector>

#include "tests/support/expect_error.h"
#include "tests/support/tiny_model.h"

namespace hypenet {
namespace {

class AnswersTest : public testing::Test {
 protected:
  AnswersTest() : engine_(CausalLm(testing_support::tiny_hypenet_config())) {}

  static Request request(int32_t id, int64_t tokens) {
    Request request{{id, 5, 9}, {}};
    request.options.max_tokens = tokens;
    return request;
  }

  OnEnd keep() {
    return [this](Completion answer) { ended_.push_back(std::move(answer)); };
  }

  void run(Answers& answers) {
    while (answers.step()) {
    }
  }

  Engine engine_;
  std::vector<Completion> ended_;
};

TEST_F(AnswersTest, are_those_of_generate_whoever_joins_when) {
  const auto expected =
      engine_.generate(std::vector<Request>{request(1, 9), request(2, 3), request(3, 5)});
  Answers answers(engine_);
  std::vector<Completion> found(3);
  const auto into = [&](size_t place) {
    return [&, place](Completion answer) { found[place] = std::move(answer); };
  };
  answers.add(request(1, 9), {}, into(0));
  // One that ends brings the next.
  answers.add(request(2, 3), {}, [&](Completion answer) {
    found[1] = std::move(answer);
    answers.add(request(3, 5), {}, into(2));
  });
  run(answers);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(found[i].ids, expected[i].ids);
    EXPECT_EQ(found[i].logprobs, expected[i].logprobs);
    EXPECT_EQ(found[i].finish, FinishReason::kLength);
  }
}

TEST_F(AnswersTest, end_where_the_asker_says) {
  Answers answers(engine_);
  std::vector<int32_t> seen;
  answers.add(
      request(1, 50), [&](const Event& event) { return seen.push_back(event.id), seen.size() < 4; },
      keep());
  run(answers);
  ASSERT_EQ(ended_.size(), 1U);
  EXPECT_EQ(ended_[0].ids, seen);
  EXPECT_EQ(seen.size(), 4U);
  EXPECT_EQ(ended_[0].finish, FinishReason::kCancelled);
  EXPECT_EQ(engine_.stats().pages_used, 0);
}

TEST_F(AnswersTest, say_when_each_token_was_made) {
  using Clock = std::chrono::steady_clock;
  Answers answers(engine_);
  std::vector<Clock::time_point> times = {Clock::now()};
  const auto note = [&](const Event& event) { return times.push_back(event.time), true; };
  answers.add(request(1, 5), note, keep());
  run(answers);
  times.push_back(Clock::now());
  EXPECT_EQ(times.size(), 7U);
  EXPECT_EQ(std::ranges::adjacent_find(times, std::greater_equal<>()), times.end());
}

TEST_F(AnswersTest, are_told_once_when_they_are_cancelled_or_stopped) {
  Answers answers(engine_);
  const int64_t first = answers.add(request(1, 50), {}, keep());
  answers.add(request(2, 50), {}, keep());
  answers.step(), answers.step();
  engine_.cancel(first);
  answers.step();
  ASSERT_EQ(ended_.size(), 1U);
  answers.stop_all();
  EXPECT_EQ(answers.size(), 0U);
  run(answers);
  ASSERT_EQ(ended_.size(), 2U);
  for (const Completion& answer : ended_) EXPECT_EQ(answer.finish, FinishReason::kCancelled);
  EXPECT_FALSE(ended_[0].ids.empty());
  EXPECT_EQ(ended_[1].ids.size(), ended_[0].ids.size() + 1);
}

TEST_F(AnswersTest, leave_the_engine_idle_when_one_throws) {
  const auto fail = [&] {
    Answers answers(engine_);
    answers.add(request(1, 50), {}, keep());
    answers.add(request(2, 3), {}, [](const Completion&) { throw Error("enough"); });
    run(answers);
  };
  EXPECT_ERROR(fail(), "enough");
  EXPECT_TRUE(engine_.is_idle());
  EXPECT_TRUE(ended_.empty());
  EXPECT_EQ(engine_.stats().pages_used, 0);
}

TEST_F(AnswersTest, without_a_token_to_choose_say_so_alone) {
  Request bad = request(1, 4);
  for (int32_t id = 0; id < 64; ++id) bad.options.sampling.logit_bias.emplace_back(id, -INFINITY);
  Answers answers(engine_);
  answers.add(bad, {}, keep());
  answers.add(request(2, 4), {}, keep());
  run(answers);
  ASSERT_EQ(ended_.size(), 2U);
  EXPECT_EQ(ended_[0].finish, FinishReason::kNoToken);
  EXPECT_TRUE(ended_[0].ids.empty());
  EXPECT_EQ(ended_[1].finish, FinishReason::kLength);
}

TEST_F(AnswersTest, with_logits_that_are_not_finite_are_errors_of_whoever_asks) {
  const torch::NoGradGuard no_grad;
  CausalLm model(testing_support::tiny_hypenet_config());
  model->layer(0)->parameters()[0].fill_(NAN);
  Engine engine(model);
  Answers answers(engine);
  answers.add(request(1, 4), {}, keep());
  run(answers);
  EXPECT_ERROR(check_finite("its logits", ended_.at(0)),
               "its logits: expected finite numbers, found nan or infinity");
  ended_[0].finish = FinishReason::kNoToken;
  check_finite("its logits", ended_[0]);
}

TEST(FinishReasonNames, are_those_of_results) {
  EXPECT_EQ(to_string(FinishReason::kStop), "stop");
  EXPECT_EQ(to_string(FinishReason::kLength), "length");
  EXPECT_EQ(to_string(FinishReason::kNoToken), "no token");
}

}  // namespace
}  // namespace hypenet
