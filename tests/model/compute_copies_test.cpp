// Copies of the parameters in the compute type: forwards read them, gradients reach the parameters,
// a refresh brings them up to date.
#include <gtest/gtest.h>

#include "model/causal_lm.h"
#include "tests/support/compare.h"
#include "tests/support/tiny_model.h"

namespace hypenet {
namespace {

const ComputePlan kCopies = {.type = torch::kBFloat16, .has_copies = true};

class ComputeCopies : public testing::TestWithParam<torch::DeviceType> {
 protected:
  void SetUp() override {
    if (GetParam() == torch::kCUDA) HYPENET_SKIP_WITHOUT_GPU();
  }

  static CausalLm make(bool tied) {
    torch::manual_seed(1);
    ModelConfig config = testing_support::tiny_hypenet_config();
    config.tie_word_embeddings = tied;
    config.attention_bias = true;
    CausalLm model(config);
    model->to(GetParam());
    model->prepare({.type = torch::kBFloat16});
    return model;
  }

  static Tensor ids() {
    torch::manual_seed(2);
    return torch::randint(64, {2, 20}, torch::kInt64).to(GetParam());
  }
};

TEST_P(ComputeCopies, change_neither_the_forward_nor_the_gradients_nor_the_names) {
  for (const bool tied : {true, false}) {
    CausalLm plain = make(tied), copied = make(tied);
    copied->prepare(kCopies);
    const Tensor expected = plain(ids()), found = copied(ids());
    EXPECT_TRUE(torch::equal(found, expected));
    expected.sum().backward(), found.sum().backward();
    const auto parameters = copied->named_parameters();
    EXPECT_EQ(parameters.size(), plain->named_parameters().size());
    for (const auto& item : plain->named_parameters()) {
      const Tensor gradient = parameters[item.key()].grad();
      EXPECT_EQ(gradient.scalar_type(), torch::kFloat32) << item.key();
      // Attention's backward on a GPU adds in no fixed order.
      EXPECT_LT(relative_rms(gradient, item.value().grad()),
                GetParam() == torch::kCUDA ? 5e-3 : 1e-6)
          << item.key();
    }
    EXPECT_EQ(copied->head().copy.scalar_type(), torch::kBFloat16);
  }
}

TEST_P(ComputeCopies, follow_the_parameters_when_refreshed) {
  CausalLm model = make(true);
  model->prepare(kCopies);
  const Tensor before = model(ids());
  {
    const torch::NoGradGuard no_grad;
    for (Tensor& parameter : model->parameters()) parameter.mul_(1.5);
  }
  EXPECT_FALSE(
      torch::equal(model->head().copy, model->head_weight().detach().to(torch::kBFloat16)));
  model->refresh_compute_copies();
  CausalLm fresh = make(true);
  {
    const torch::NoGradGuard no_grad;
    for (Tensor& parameter : fresh->parameters()) parameter.mul_(1.5);
  }
  EXPECT_TRUE(torch::equal(model(ids()), fresh(ids())));
  EXPECT_FALSE(torch::equal(model(ids()), before));
}

TEST_P(ComputeCopies, are_made_again_when_the_type_changes) {
  CausalLm model = make(false);
  model->prepare(kCopies);
  model->prepare({.type = torch::kFloat32, .has_copies = true});
  EXPECT_FALSE(model->head().copy.defined());
  CausalLm plain = make(false);
  plain->prepare({.type = torch::kFloat32});
  EXPECT_TRUE(torch::equal(model(ids()), plain(ids())));
}

TEST_P(ComputeCopies, are_not_made_of_parameters_that_have_the_type) {
  CausalLm model = make(false);
  model->to(torch::kBFloat16);
  model->prepare(kCopies);
  EXPECT_FALSE(model->head().copy.defined());
  model->refresh_compute_copies();
}

INSTANTIATE_TEST_SUITE_P(devices, ComputeCopies, testing::Values(torch::kCPU, torch::kCUDA));

}  // namespace
}  // namespace hypenet
