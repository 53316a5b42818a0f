// Activation checkpointing changes what is kept, not what is computed.
#include "model/checkpointing.h"

#include <gtest/gtest.h>

#include "model/causal_lm.h"
#include "tests/support/tiny_model.h"

namespace hypenet {
namespace {

TEST(Checkpointing, gives_the_gradients_of_a_plain_call) {
  torch::manual_seed(1);
  const Tensor weight = torch::randn({5, 5}).requires_grad_();
  const Tensor x = torch::randn({3, 5}).requires_grad_();
  const auto block = [&](const Tensor& input) { return input.mm(weight).tanh() + input; };
  const auto gradients = [&](const std::function<Tensor()>& forward) {
    weight.mutable_grad() = Tensor(), x.mutable_grad() = Tensor();
    forward().pow(2).sum().backward();
    return std::pair{weight.grad().clone(), x.grad().clone()};
  };
  const auto expected = gradients([&] { return block(block(x)); });
  const auto found = gradients([&] { return checkpointed(checkpointed(x, block), block); });
  EXPECT_TRUE(torch::equal(expected.first, found.first));
  EXPECT_TRUE(torch::equal(expected.second, found.second));
}

TEST(Checkpointing, parameters_learn_behind_an_input_that_does_not) {
  const Tensor weight = torch::ones({2, 2}).requires_grad_();
  const Tensor x = torch::ones({1, 2});
  checkpointed(x, [&](const Tensor& input) { return input.mm(weight); }).sum().backward();
  EXPECT_TRUE(torch::equal(weight.grad(), torch::ones({2, 2})));
  EXPECT_FALSE(x.grad().defined());
}

TEST(Checkpointing, keeps_nothing_without_gradients) {
  int runs = 0;
  const torch::NoGradGuard no_grad;
  const Tensor y = checkpointed(torch::ones({2}).requires_grad_(), [&](const Tensor& input) {
    ++runs;
    return input * 2;
  });
  EXPECT_FALSE(y.requires_grad());
  EXPECT_EQ(runs, 1);
}

/// Gradients of a tiny HypeNet by name, after two micro-batches.
std::vector<std::pair<std::string, Tensor>> model_gradients(bool is_checkpointed,
                                                            torch::ScalarType type) {
  torch::manual_seed(2);
  CausalLm model(testing_support::tiny_hypenet_config());
  model->prepare({.type = type, .has_copies = true, .checkpoints_activations = is_checkpointed});
  for (int micro = 0; micro < 2; ++micro) {
    const Tensor ids = torch::randint(64, {2, 9}, torch::kInt64);
    model->hidden(ids).to(torch::kFloat32).pow(2).sum().backward();
  }
  std::vector<std::pair<std::string, Tensor>> gradients;
  for (const auto& item : model->named_parameters()) {
    gradients.emplace_back(item.key(), item.value().grad());
  }
  return gradients;
}

class CheckpointedModel : public testing::TestWithParam<torch::ScalarType> {};

TEST_P(CheckpointedModel, has_the_gradients_of_a_plain_one) {
  const auto expected = model_gradients(false, GetParam());
  const auto found = model_gradients(true, GetParam());
  for (size_t i = 0; i < expected.size(); ++i) {
    ASSERT_TRUE(found[i].second.defined()) << found[i].first;
    EXPECT_TRUE(torch::equal(expected[i].second, found[i].second)) << expected[i].first;
  }
}

INSTANTIATE_TEST_SUITE_P(types, CheckpointedModel,
                         testing::Values(torch::kFloat32, torch::kBFloat16),
                         [](const auto& info) { return torch::toString(info.param); });

}  // namespace
}  // namespace hypenet
