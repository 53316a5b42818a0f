// What a CausalLm promises beside its forward.
#include "model/causal_lm.h"

#include <gtest/gtest.h>

#include "tests/support/compare.h"
#include "tests/support/expect_error.h"
#include "tests/support/tiny_model.h"

namespace hypenet {
namespace {

using testing_support::tiny_hypenet_config;

float difference(const Tensor& a, const Tensor& b) { return (a - b).abs().max().item<float>(); }

TEST(CausalLmTest, logits_scaling_is_off_until_it_is_switched_on) {
  torch::manual_seed(2);
  ModelConfig config = tiny_hypenet_config();
  config.attn_logits_scaling = {LogitsScaling::Kind::kConstant, 3};
  CausalLm model(config);
  const torch::NoGradGuard no_grad;
  const Tensor ids = torch::arange(20).view({1, 20});
  const Tensor plain = model(ids);
  model->prepare({.logits_scaling = config.attn_logits_scaling});
  EXPECT_GT(difference(model(ids), plain), 0);
  model->prepare({.logits_scaling = {LogitsScaling::Kind::kConstant, 1}});
  EXPECT_TRUE(torch::equal(model(ids), plain));
}

TEST(CausalLmTest, logits_scaling_in_training_is_a_factor_of_the_queries_weights) {
  const auto new_model = [] {
    torch::manual_seed(5);
    return CausalLm(tiny_hypenet_config());
  };
  CausalLm scaled = new_model(), weighted = new_model();
  const std::string queries = "model.layers.1.self_attn.q_norm.weight";
  {
    const torch::NoGradGuard no_grad;
    weighted->named_parameters()[queries].mul_(3);
  }
  scaled->prepare({.logits_scaling = {LogitsScaling::Kind::kConstant, 3}});
  const Tensor ids = torch::randint(64, {2, 24}, torch::kInt64);
  const Tensor found = scaled(ids), expected = weighted(ids);
  EXPECT_LT(relative_rms(found, expected), 1e-5);
  found.square().sum().backward(), expected.square().sum().backward();
  const auto parameters = scaled->named_parameters();
  for (const auto& item : weighted->named_parameters()) {
    const double factor = item.key() == queries ? 3 : 1;
    EXPECT_LT(relative_rms(parameters[item.key()].grad(), factor * item.value().grad()), 1e-4)
        << item.key();
  }
}

TEST(CausalLmTest, float32_parameters_get_float32_gradients_from_bfloat16_compute) {
  CausalLm model(tiny_hypenet_config());
  model->prepare({.type = torch::kBFloat16});
  const Tensor h = model->hidden(torch::arange(20).view({1, 20}));
  EXPECT_EQ(h.scalar_type(), torch::kBFloat16);
  model->logits(h).to(torch::kFloat32).square().mean().backward();
  for (const Tensor& parameter : model->parameters()) {
    EXPECT_EQ(parameter.grad().scalar_type(), torch::kFloat32);
  }
}

TEST(CausalLmTest, cache_bytes_count_what_a_state_allocates) {
  const ModelConfig config = tiny_hypenet_config();
  // One attention layer of 2 heads of 16 in keys and values, two states of 4 heads of 16 x 16.
  EXPECT_EQ(cache_bytes(config, 100), 2 * 2 * 100 * 2 * 16 + 2 * 4 * 4 * 16 * 16);
  const DecodeState state(config, {.slots = 1, .pages = 2, .page_tokens = 64},
                          {torch::kBFloat16, torch::kFloat32}, torch::kCPU);
  EXPECT_EQ(state.bytes(), cache_bytes(config, 128));
}

TEST(CausalLmErrors, name_what_was_expected_and_found) {
  CausalLm model(tiny_hypenet_config());
  const Tensor ids = torch::arange(3).view({1, 3});
  EXPECT_ERROR(model->hidden(ids.to(torch::kInt32)),
               "ids: expected int64 [B, T], found Int [1, 3]");
  EXPECT_ERROR(model->hidden(ids, torch::ones({1, 4}, torch::kInt64)),
               "attention_mask: expected [1, 3], found [1, 4]");
}

}  // namespace
}  // namespace hypenet
