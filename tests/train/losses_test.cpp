// The piecewise losses against their plain forms over whole [N, V] logits, in float64.
#include "train/losses.h"

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace hypenet {
namespace {

struct Inputs {
  Tensor hidden, weight, targets, teacher_hidden, teacher_weight;
};

Inputs random_inputs(int64_t tokens) {
  torch::manual_seed(tokens);
  const auto options = torch::TensorOptions().dtype(torch::kFloat64);
  return {torch::randn({tokens, 6}, options).requires_grad_(),
          torch::randn({11, 6}, options).requires_grad_(),
          torch::randint(11, {tokens}, torch::kInt64), torch::randn({tokens, 4}, options),
          torch::randn({11, 4}, options)};
}

Tensor plain_cross_entropy(const Inputs& in) {
  return torch::nn::functional::cross_entropy(torch::matmul(in.hidden, in.weight.t()), in.targets);
}

Tensor plain_kl(const Inputs& in) {
  const Tensor q = torch::log_softmax(torch::matmul(in.hidden, in.weight.t()), -1);
  const Tensor p = torch::log_softmax(torch::matmul(in.teacher_hidden, in.teacher_weight.t()), -1);
  return (p.exp() * (p - q)).sum(-1).mean();
}

/// The same value and, with an upstream factor, the same gradients.
void expect_same(const Inputs& in, const Tensor& loss, const Tensor& plain) {
  const auto expected = torch::autograd::grad({plain * 3}, {in.hidden, in.weight});
  const auto found = torch::autograd::grad({loss * 3}, {in.hidden, in.weight});
  EXPECT_NEAR(loss.item<double>(), plain.item<double>(), 1e-12);
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_TRUE(torch::allclose(found[i], expected[i], 1e-10, 1e-12)) << "gradient " << i;
  }
}

TEST(Losses, cross_entropy_in_pieces_is_the_plain_one) {
  for (const int64_t tokens : {1, 5, 16}) {
    for (const int64_t piece : {1, 3, 16, 0}) {
      const Inputs in = random_inputs(tokens);
      expect_same(in, linear_cross_entropy(in.hidden, in.weight, in.targets, piece),
                  plain_cross_entropy(in));
    }
  }
}

TEST(Losses, kl_in_pieces_is_the_plain_one) {
  for (const int64_t tokens : {1, 5, 16}) {
    for (const int64_t piece : {1, 3, 16, 0}) {
      const Inputs in = random_inputs(tokens);
      expect_same(in, linear_kl(in.hidden, in.weight, in.teacher_hidden, in.teacher_weight, piece),
                  plain_kl(in));
    }
  }
}

TEST(Losses, kl_of_a_model_to_itself_is_zero) {
  const Inputs in = random_inputs(7);
  EXPECT_NEAR(linear_kl(in.hidden, in.weight, in.hidden, in.weight, 2).item<double>(), 0, 1e-12);
}

TEST(Losses, bfloat16_hidden_states_keep_float32_weight_gradients) {
  const Inputs in = random_inputs(64);
  const Tensor hidden = in.hidden.detach().to(torch::kBFloat16).requires_grad_();
  const Tensor weight = in.weight.detach().to(torch::kFloat32).requires_grad_();
  const Tensor loss = linear_cross_entropy(hidden, weight, in.targets, 16);
  loss.backward();
  EXPECT_EQ(weight.grad().scalar_type(), torch::kFloat32);
  const auto expected = torch::autograd::grad({plain_cross_entropy(in)}, {in.hidden, in.weight});
  const Tensor difference = weight.grad().to(torch::kFloat64) - expected[1];
  EXPECT_LT((difference.norm() / expected[1].norm()).item<double>(),
            2e-2);  // eight bits of mantissa
}

TEST(Losses, shapes_that_disagree_are_named) {
  const Inputs in = random_inputs(4);
  EXPECT_ERROR(linear_cross_entropy(in.hidden, in.teacher_weight, in.targets),
               "expected hidden [N, D]");
  EXPECT_ERROR(linear_cross_entropy(in.hidden, in.weight, in.targets.narrow(0, 0, 2)),
               "expected targets [4]");
  EXPECT_ERROR(
      linear_kl(in.hidden, in.weight, in.teacher_hidden, in.teacher_weight.narrow(0, 0, 5)),
      "teacher's vocabulary to be 11, found 5");
}

}  // namespace
}  // namespace hypenet
