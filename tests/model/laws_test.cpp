// Laws that hold for any weights: prefill then decode is one forward, a batch is its rows,
// gradients are finite.
#include <gtest/gtest.h>

#include "model/causal_lm.h"
#include "tests/support/expect_error.h"
#include "tests/support/tiny_model.h"

namespace hypenet {
namespace {

using testing_support::tiny_hypenet_config;
using testing_support::tiny_teacher_config;

enum class Kind { kTeacher, kHypeNet, kScaledHypeNet, kWithoutNormsAndExpansion };

ModelConfig config_of(Kind kind) {
  ModelConfig config = kind == Kind::kTeacher ? tiny_teacher_config() : tiny_hypenet_config();
  if (kind == Kind::kScaledHypeNet) {
    config.attn_logits_scaling = {LogitsScaling::Kind::kLogPosition, 10};
  }
  if (kind == Kind::kWithoutNormsAndExpansion) {
    config.has_qk_norm = config.lightning_use_output_norm = false;
    config.lightning_nkv = 2;
    config.attention_bias = config.attention_output_bias = true;
    config.attn_logits_scaling = {LogitsScaling::Kind::kConstant, 1.2};
  }
  return config;
}

class Laws : public testing::TestWithParam<Kind> {
 protected:
  Laws() {
    torch::manual_seed(1);
    model_ = CausalLm(config_of(GetParam()));
    // Initial weights are too small for differences to show.
    const torch::NoGradGuard no_grad;
    for (Tensor& parameter : model_->parameters()) {
      if (parameter.dim() == 2) parameter.mul_(10);
      if (parameter.dim() == 1) parameter.add_(torch::rand_like(parameter));
    }
  }

  Tensor random_ids(int64_t B, int64_t T) { return torch::randint(0, 64, {B, T}, torch::kInt64); }

  DecodeState empty_state(int64_t B, int64_t capacity) {
    return DecodeState(model_->config(), B, capacity, torch::kFloat32);
  }

  CausalLm model_{nullptr};
};

float difference(const Tensor& a, const Tensor& b) { return (a - b).abs().max().item<float>(); }

TEST_P(Laws, prefill_then_decode_is_one_forward_for_any_split) {
  const torch::NoGradGuard no_grad;
  const Tensor ids = random_ids(2, 150);
  const Tensor expected = model_(ids);
  for (const std::vector<int64_t>& pieces :
       {std::vector<int64_t>{150}, {149, 1}, {1, 149}, {70, 5, 1, 1, 73}, {3, 140, 2, 5}}) {
    DecodeState state = empty_state(2, 150);
    std::vector<Tensor> logits;
    for (const int64_t count : pieces) {
      logits.push_back(model_(ids.narrow(1, state.length, count), Tensor(), &state));
    }
    EXPECT_EQ(state.length, 150);
    EXPECT_LT(difference(torch::cat(logits, 1), expected), 1e-4) << pieces[0];
  }
}

struct PaddedBatch {
  Tensor ids, mask;                  // [B, T]
  std::vector<Tensor> rows, places;  // each row's own ids [1, n] and where they lie in the batch
};

/// Rows of the given lengths, padded with id 63 on the side that each sign says (negative: left).
PaddedBatch padded(const std::vector<int64_t>& lengths, int64_t T) {
  const int64_t B = static_cast<int64_t>(lengths.size());
  PaddedBatch batch{
      torch::full({B, T}, 63, torch::kInt64), torch::zeros({B, T}, torch::kInt64), {}, {}};
  for (int64_t b = 0; b < B; ++b) {
    const int64_t n = std::abs(lengths[b]), begin = lengths[b] < 0 ? T - n : 0;
    batch.rows.push_back(torch::randint(0, 64, {1, n}, torch::kInt64));
    batch.ids[b].narrow(0, begin, n).copy_(batch.rows[b][0]);
    batch.mask[b].narrow(0, begin, n).fill_(1);
    batch.places.push_back(torch::arange(begin, begin + n));
  }
  return batch;
}

TEST_P(Laws, a_padded_batch_gives_each_row_what_it_gets_alone) {
  const torch::NoGradGuard no_grad;
  for (const std::vector<int64_t>& lengths :
       {std::vector<int64_t>{40, 17, 1}, {-40, -17, -1}, {40, 39, -5, 5, -1}}) {
    const PaddedBatch batch = padded(lengths, 40);
    const Tensor logits = model_(batch.ids, batch.mask);
    EXPECT_TRUE(logits.isfinite().all().item<bool>());
    for (size_t b = 0; b < lengths.size(); ++b) {
      const Tensor found = logits[b].index_select(0, batch.places[b]);
      EXPECT_LT(difference(found, model_(batch.rows[b])[0]), 1e-4) << "row " << b;
    }
  }
}

TEST_P(Laws, gradients_of_a_padded_batch_are_the_sum_of_its_rows_gradients) {
  const PaddedBatch batch = padded({30, -12, 5}, 30);
  const auto parameters = model_->parameters();
  const Tensor mask = batch.mask.unsqueeze(-1);
  const auto found =
      torch::autograd::grad({(model_(batch.ids, batch.mask) * mask).square().sum()}, parameters);
  Tensor loss = torch::zeros({});
  for (const Tensor& row : batch.rows) loss = loss + model_(row).square().sum();
  const auto expected = torch::autograd::grad({loss}, parameters);
  const auto names = model_->named_parameters().keys();
  for (size_t i = 0; i < found.size(); ++i) {
    const float scale = expected[i].abs().max().item<float>();
    EXPECT_GT(scale, 0) << names[i];
    EXPECT_LT(difference(found[i], expected[i]), 1e-4 * scale + 5e-5) << names[i];
  }
}

TEST_P(Laws, a_padded_prefill_then_decode_gives_each_row_what_it_gets_alone) {
  const torch::NoGradGuard no_grad;
  const PaddedBatch batch = padded({-20, -7, -1}, 20);
  const Tensor next = random_ids(3, 6);
  DecodeState state = empty_state(3, 26);
  model_(batch.ids, batch.mask, &state);
  const Tensor first = model_(next.narrow(1, 0, 5), Tensor(), &state);
  const Tensor last = model_(next.narrow(1, 5, 1), Tensor(), &state);
  const Tensor found = torch::cat({first, last}, 1);
  for (int64_t b = 0; b < 3; ++b) {
    const Tensor alone = model_(torch::cat({batch.rows[b], next.narrow(0, b, 1)}, 1))[0];
    EXPECT_LT(difference(found[b], alone.narrow(0, alone.size(0) - 6, 6)), 1e-4) << "row " << b;
  }
}

TEST_P(Laws, a_snapshot_is_not_touched_by_going_on) {
  const torch::NoGradGuard no_grad;
  const Tensor ids = random_ids(1, 12);
  DecodeState state = empty_state(1, 12);
  model_(ids.narrow(1, 0, 8), Tensor(), &state);
  DecodeState kept = state.snapshot();
  const Tensor once = model_(ids.narrow(1, 8, 4), Tensor(), &state);
  const Tensor again = model_(ids.narrow(1, 8, 4), Tensor(), &kept);
  EXPECT_TRUE(torch::equal(once, again));
}

TEST_P(Laws, every_parameter_has_a_finite_gradient) {
  model_(random_ids(2, 70)).square().mean().backward();
  for (const auto& parameter : model_->named_parameters()) {
    const Tensor gradient = parameter.value().grad();
    ASSERT_TRUE(gradient.defined()) << parameter.key();
    EXPECT_TRUE(gradient.isfinite().all().item<bool>()) << parameter.key();
    EXPECT_GT(gradient.abs().max().item<float>(), 0) << parameter.key();
  }
}

TEST_P(Laws, layers_walked_one_by_one_are_the_forward) {
  const torch::NoGradGuard no_grad;
  const Tensor ids = random_ids(2, 33);
  const Step step = model_->step(ids);
  Residual h = {model_->embed(ids)};
  for (int64_t i = 0; i < model_->config().num_hidden_layers; ++i) {
    Block& block = model_->layer(i);
    const auto [sum, input] = block->mixer_input(h);
    h = block->finish(sum, block->mixer().forward(input, step, nullptr));
  }
  EXPECT_TRUE(torch::equal(model_->logits(model_->finish(h)), model_(ids)));
}

INSTANTIATE_TEST_SUITE_P(models, Laws,
                         testing::Values(Kind::kTeacher, Kind::kHypeNet, Kind::kScaledHypeNet,
                                         Kind::kWithoutNormsAndExpansion));

TEST(CausalLmTest, logits_scaling_can_be_switched_off_and_on) {
  torch::manual_seed(2);
  ModelConfig config = tiny_hypenet_config();
  config.attn_logits_scaling = {LogitsScaling::Kind::kConstant, 3};
  CausalLm model(config);
  const torch::NoGradGuard no_grad;
  const Tensor ids = torch::arange(20).view({1, 20});
  const Tensor scaled = model(ids);
  model->set_logits_scaling({});
  const Tensor plain = model(ids);
  EXPECT_GT(difference(plain, scaled), 0);
  model->set_logits_scaling({LogitsScaling::Kind::kConstant, 1});
  EXPECT_TRUE(torch::equal(model(ids), plain));
  model->set_logits_scaling(config.attn_logits_scaling);
  EXPECT_TRUE(torch::equal(model(ids), scaled));
}

TEST(CausalLmTest, float32_parameters_get_float32_gradients_from_bfloat16_compute) {
  CausalLm model(tiny_hypenet_config());
  model->set_compute_type(torch::kBFloat16);
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
  const DecodeState state(config, 1, 100, torch::kBFloat16);
  EXPECT_EQ(state.bytes(), cache_bytes(config, 100));
}

TEST(CausalLmErrors, name_what_was_expected_and_found) {
  CausalLm model(tiny_hypenet_config());
  DecodeState state(model->config(), 1, 4, torch::kFloat32);
  const Tensor ids = torch::arange(3).view({1, 3});
  EXPECT_ERROR(model->hidden(ids.to(torch::kInt32)),
               "ids: expected int64 [B, T], found Int [1, 3]");
  EXPECT_ERROR(model->hidden(ids, torch::ones({1, 4}, torch::kInt64)),
               "attention_mask: expected [1, 3], found [1, 4]");
  model->hidden(ids, {}, &state);
  EXPECT_ERROR(model->hidden(ids, {}, &state), "the state holds 4 tokens, found 3 + 3");
  EXPECT_ERROR(model->hidden(ids.narrow(1, 0, 1), torch::ones({1, 1}, torch::kInt64), &state),
               "expected with the first tokens only, found it after 3 tokens");
}

}  // namespace
}  // namespace hypenet
