// The choice of the next token: arg max, or draws with the right frequencies.
#include "engine/sampling.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "tests/support/expect_error.h"

namespace hypenet {
namespace {

std::vector<double> draw_shares(const torch::Tensor& logits, double temperature, int draws) {
  Random random(11);
  std::vector<double> shares(static_cast<size_t>(logits.size(0)), 0.0);
  for (int i = 0; i < draws; ++i) {
    shares.at(static_cast<size_t>(sample(logits, {temperature, 0}, random))) += 1.0 / draws;
  }
  return shares;
}

TEST(SamplingTest, temperature_zero_takes_the_first_of_the_largest) {
  Random random(0);
  EXPECT_EQ(sample(torch::tensor({1.0F, 3.0F, 2.0F, 3.0F}), {}, random), 1);
}

TEST(SamplingTest, draws_follow_the_softmax) {
  constexpr int kDraws = 4000;
  for (const double temperature : {0.5, 1.0, 2.0}) {
    const torch::Tensor logits = torch::tensor({0.0, 1.0, 2.0, -1.0}, torch::kFloat64);
    const auto shares = draw_shares(logits, temperature, kDraws);
    const torch::Tensor expected = torch::softmax(logits / temperature, 0);
    for (int64_t i = 0; i < 4; ++i) {
      const double share = expected[i].item<double>();
      const double error = std::sqrt(share * (1 - share) / kDraws);
      EXPECT_NEAR(shares[static_cast<size_t>(i)], share, 4 * error) << temperature << " " << i;
    }
  }
}

TEST(SamplingTest, impossible_tokens_are_never_drawn) {
  const float none = -std::numeric_limits<float>::infinity();
  const auto shares = draw_shares(torch::tensor({none, 0.0F, none, 0.0F, none}), 1, 500);
  EXPECT_EQ(shares[0] + shares[2] + shares[4], 0);
  EXPECT_GT(shares[1], 0.4);
}

TEST(SamplingTest, the_same_seed_draws_the_same) {
  const torch::Tensor logits = torch::zeros({50});
  Random first(3), second(3), other(4);
  int differences = 0;
  for (int i = 0; i < 20; ++i) {
    const int32_t id = sample(logits, {1, 0}, first);
    EXPECT_EQ(id, sample(logits, {1, 0}, second));
    differences += id != sample(logits, {1, 0}, other);
  }
  EXPECT_GT(differences, 10);
}

TEST(SamplingTest, nan_is_an_error_when_drawing) {
  Random random(0);
  const torch::Tensor logits = torch::tensor({0.0F, std::nanf(""), 0.0F});
  EXPECT_ERROR(sample(logits, {1, 0}, random), "sampling: expected finite logits");
}

}  // namespace
}  // namespace hypenet
