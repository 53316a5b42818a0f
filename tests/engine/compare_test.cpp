// Two models side by side: against themselves, against a plain computation, in buckets.
#include "engine/compare.h"

#include <gmock/gmock.h>

#include <cmath>

#include "tests/support/expect_error.h"
#include "tests/support/tiny_model.h"

namespace hypenet {
namespace {

CausalLm tiny_model(int64_t seed, const ModelConfig& config) {
  torch::manual_seed(static_cast<uint64_t>(seed));
  return CausalLm(config);
}

std::vector<std::vector<int32_t>> windows(size_t count, size_t length) {
  std::vector<std::vector<int32_t>> all(count);
  for (size_t i = 0; i < count; ++i) {
    for (size_t t = 0; t < length; ++t) {
      all[i].push_back(static_cast<int32_t>((i * 31 + t * t * 7 + t) % 64));
    }
  }
  return all;
}

TEST(CompareTest, a_model_agrees_with_itself) {
  CausalLm model = tiny_model(1, testing_support::tiny_hypenet_config());
  const auto positions = compare_models(model, model, windows(3, 40));
  ASSERT_EQ(positions.size(), 39U);
  for (const auto& position : positions) {
    EXPECT_EQ(position.divergence, 0);
    EXPECT_EQ(position.agreement, 1);
    EXPECT_EQ(position.loss_a, position.loss_b);
  }
}

TEST(CompareTest, measures_equal_a_plain_computation) {
  CausalLm a = tiny_model(1, testing_support::tiny_teacher_config());
  CausalLm b = tiny_model(2, testing_support::tiny_hypenet_config());
  const auto text = windows(3, 21);
  int64_t done = 0;
  const auto positions = compare_models(a, b, text, [&](int64_t windows) { done = windows; });
  EXPECT_EQ(done, 3);
  ASSERT_EQ(positions.size(), 20U);
  const torch::NoGradGuard no_grad;
  for (int64_t p = 0; p < 20; ++p) {
    PositionComparison expected;
    for (const auto& window : text) {
      const Tensor ids = torch::tensor(window).to(torch::kInt64).slice(0, 0, 20).unsqueeze(0);
      const Tensor of_a = a->forward(ids)[0][p].to(torch::kFloat64).log_softmax(-1);
      const Tensor of_b = b->forward(ids)[0][p].to(torch::kFloat64).log_softmax(-1);
      const int64_t next = window[static_cast<size_t>(p) + 1];
      expected.divergence += (of_a.exp() * (of_a - of_b)).sum().item<double>() / 3;
      expected.agreement += of_a.argmax().equal(of_b.argmax()) ? 1.0 / 3 : 0;
      expected.loss_a -= of_a[next].item<double>() / 3;
      expected.loss_b -= of_b[next].item<double>() / 3;
    }
    const auto& found = positions[static_cast<size_t>(p)];
    EXPECT_NEAR(found.divergence, expected.divergence, 1e-4);
    EXPECT_NEAR(found.agreement, expected.agreement, 1e-6);
    EXPECT_NEAR(found.loss_a, expected.loss_a, 1e-4);
    EXPECT_NEAR(found.loss_b, expected.loss_b, 1e-4);
    EXPECT_GT(found.divergence, 0);
  }
}

TEST(CompareTest, many_windows_are_the_mean_of_each_alone) {
  CausalLm a = tiny_model(1, testing_support::tiny_teacher_config());
  CausalLm b = tiny_model(2, testing_support::tiny_teacher_config());
  const auto text = windows(5, 2049);  // 4 of them fill a batch
  const auto together = compare_models(a, b, text);
  double sum = 0;
  for (const auto& window : text) sum += compare_models(a, b, {&window, 1})[2000].divergence;
  EXPECT_NEAR(together[2000].divergence, sum / 5, 1e-5);
}

TEST(CompareTest, buckets_hold_each_position_once) {
  std::vector<PositionComparison> positions(100);
  for (size_t p = 0; p < positions.size(); ++p) positions[p].divergence = static_cast<double>(p);
  for (const int64_t per_octave : {1, 4}) {
    int64_t next = 1;
    for (const auto& bucket : comparison_buckets(positions, per_octave)) {
      EXPECT_EQ(bucket.first, next);
      EXPECT_NEAR(bucket.mean.divergence, static_cast<double>(bucket.first + bucket.last) / 2 - 1,
                  1e-9);
      next = bucket.last + 1;
    }
    EXPECT_EQ(next, 101);
  }
  const auto octaves = comparison_buckets(positions, 1);
  ASSERT_EQ(octaves.size(), 4U);
  EXPECT_EQ(octaves[0].last, 16);
  EXPECT_EQ(octaves[1].last, 32);
  EXPECT_EQ(octaves[3].last, 100);
  EXPECT_EQ(comparison_buckets({positions.data(), 3}, 4).size(), 1U);
}

TEST(CompareTest, weights_that_overflow_are_an_error_that_names_the_model) {
  CausalLm sound = tiny_model(1, testing_support::tiny_teacher_config());
  CausalLm broken = tiny_model(1, testing_support::tiny_teacher_config());
  {
    const torch::NoGradGuard no_grad;
    for (auto& parameter : broken->parameters()) parameter.fill_(std::nan(""));
  }
  EXPECT_ERROR(compare_models(broken, sound, windows(1, 8)),
               "compare: first model: expected finite numbers, found nan or infinity");
  EXPECT_ERROR(compare_models(sound, broken, windows(1, 8)), "compare: second model: expected");
}

TEST(CompareTest, models_and_windows_that_do_not_match_are_errors) {
  CausalLm model = tiny_model(1, testing_support::tiny_teacher_config());
  ModelConfig larger = testing_support::tiny_teacher_config();
  larger.vocab_size = 72;
  CausalLm other = tiny_model(1, larger);
  EXPECT_ERROR(compare_models(model, other, windows(1, 8)),
               "vocab_size: expected 64 in both models, found 72");
  EXPECT_ERROR(compare_models(model, model, {}), "expected windows of text, found none");
  auto text = windows(2, 8);
  text[1].pop_back();
  EXPECT_ERROR(compare_models(model, model, text), "expected windows of 8 tokens, found 7");
  text = windows(1, 8);
  text[0][3] = 64;
  EXPECT_ERROR(compare_models(model, model, text), "expected ids from 0 to 63, found 64");
}

}  // namespace
}  // namespace hypenet
