// Laws that hold for any weights: prefill and steps are one forward, a batch is its rows,
// gradients are finite.
#include <gtest/gtest.h>

#include "model/causal_lm.h"
#include "tests/support/expect_error.h"
#include "tests/support/sequence_rows.h"
#include "tests/support/tiny_model.h"

namespace hypenet {
namespace {

using testing_support::SequenceRows;
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
    model_->set_logits_scaling(model_->config().attn_logits_scaling);
    // Initial weights are too small for differences to show.
    const torch::NoGradGuard no_grad;
    for (Tensor& parameter : model_->parameters()) {
      if (parameter.dim() == 2) parameter.mul_(10);
      if (parameter.dim() == 1) parameter.add_(torch::rand_like(parameter));
    }
  }

  Tensor random_ids(int64_t B, int64_t T) { return torch::randint(0, 64, {B, T}, torch::kInt64); }

  CausalLm model_{nullptr};
};

float difference(const Tensor& a, const Tensor& b) { return (a - b).abs().max().item<float>(); }

TEST_P(Laws, steps_are_one_forward_for_any_split) {
  const torch::NoGradGuard no_grad;
  const Tensor ids = random_ids(2, 150);
  const Tensor expected = model_(ids);
  Tensor first;
  for (const std::vector<int64_t>& pieces :
       {std::vector<int64_t>{150}, {149, 1}, {1, 149}, {70, 5, 1, 1, 73}, {3, 140, 2, 5}}) {
    SequenceRows rows(model_, 2, 150);
    const Tensor found = rows.step_in_pieces(ids, pieces);
    EXPECT_LT(difference(found, expected), 1e-4) << pieces[0];
    if (!first.defined()) first = found;
    EXPECT_TRUE(torch::equal(found, first)) << pieces[0];
  }
}

TEST_P(Laws, inference_with_memory_records_no_graph) {
  SequenceRows rows(model_, 1, 8);
  EXPECT_FALSE(rows.prefill(0, random_ids(1, 4)[0]).requires_grad());
  EXPECT_FALSE(rows.step_in_pieces(random_ids(1, 2), {2}).requires_grad());
  EXPECT_TRUE(model_(random_ids(1, 2)).requires_grad());
}

TEST_P(Laws, prefill_in_chunks_then_steps_are_one_forward) {
  const torch::NoGradGuard no_grad;
  const Tensor ids = random_ids(2, 150);
  const Tensor expected = model_(ids);
  for (const std::vector<int64_t>& chunks :
       {std::vector<int64_t>{140}, {139, 1}, {1, 139}, {64, 64, 12}, {70, 5, 1, 1, 63}}) {
    SequenceRows rows(model_, 2, 150);
    for (int64_t row = 0; row < 2; ++row) {
      Tensor last;
      int64_t begin = 0;
      for (const int64_t count : chunks) {
        last = rows.prefill(row, ids[row].narrow(0, begin, count));
        begin += count;
      }
      EXPECT_LT(difference(last[0], expected[row][139]), 1e-4) << chunks[0];
    }
    const Tensor rest = rows.step_in_pieces(ids.narrow(1, 140, 10), {1, 9});
    EXPECT_LT(difference(rest, expected.narrow(1, 140, 10)), 1e-4) << chunks[0];
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
    h = block->finish(sum, block->mixer().forward(input, step));
  }
  EXPECT_TRUE(torch::equal(model_->logits(model_->finish(h)), model_(ids)));
}

INSTANTIATE_TEST_SUITE_P(models, Laws,
                         testing::Values(Kind::kTeacher, Kind::kHypeNet, Kind::kScaledHypeNet,
                                         Kind::kWithoutNormsAndExpansion));

TEST(CausalLmTest, logits_scaling_is_off_until_it_is_switched_on) {
  torch::manual_seed(2);
  ModelConfig config = tiny_hypenet_config();
  config.attn_logits_scaling = {LogitsScaling::Kind::kConstant, 3};
  CausalLm model(config);
  const torch::NoGradGuard no_grad;
  const Tensor ids = torch::arange(20).view({1, 20});
  const Tensor plain = model(ids);
  model->set_logits_scaling(config.attn_logits_scaling);
  EXPECT_GT(difference(model(ids), plain), 0);
  model->set_logits_scaling({LogitsScaling::Kind::kConstant, 1});
  EXPECT_TRUE(torch::equal(model(ids), plain));
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
