// Laws that hold for any weights of a model of any mixer: prefill and steps are one forward, a
// batch is its rows, gradients are finite. Every row of the two tables is run.
#include <gtest/gtest.h>
#include <torch/autograd.h>

#include "engine/engine.h"
#include "halo/hybrid.h"
#include "model/causal_lm.h"
#include "model/mixers/gdn.h"
#include "model/mixers/kda.h"
#include "model/mixers/mamba2.h"
#include "model/mixers/nha.h"
#include "model/mixers/rwkv7.h"
#include "tests/support/sequence_rows.h"
#include "tests/support/shared_memory_ranks.h"
#include "tests/support/tiny_model.h"
#include "train/row_ranks.h"

namespace hypenet {
namespace {

using testing_support::run_ranks;
using testing_support::SequenceRows;
using testing_support::tiny_hypenet_config;
using testing_support::tiny_teacher_config;

struct Model {
  std::string name;
  ModelConfig config;
};

/// A hybrid of three layers, of which the first and the last are of this mixer.
ModelConfig hybrid_of(std::string_view mixer) {
  ModelConfig teacher = tiny_teacher_config();
  teacher.num_hidden_layers = 3;
  ModelConfig config = hypenet_config(teacher, mixer_types(3, {1}, mixer));
  config.mixers.of<NhaConfig>().window_size = 8;  // that tokens leave
  return config;
}

std::vector<Model> models() {
  std::vector<Model> all = {{"attn", tiny_teacher_config()}};
  for (const TwinRule* rule : twin_rules()) {
    all.push_back({std::string(rule->mixer->name), hybrid_of(rule->mixer->name)});
  }
  ModelConfig scaled = tiny_hypenet_config();
  scaled.attn_logits_scaling = {LogitsScaling::Kind::kLogPosition, 10};
  all.push_back({"scaled", scaled});
  ModelConfig grouped = tiny_hypenet_config();
  auto& lightning = grouped.mixers.of<LightningConfig>();
  lightning.use_output_norm = false, lightning.nkv = 2;
  grouped.has_qk_norm = false;
  grouped.attention_bias = grouped.attention_output_bias = true;
  grouped.attn_logits_scaling = {LogitsScaling::Kind::kConstant, 1.2};
  all.push_back({"without norms and expansion", grouped});
  ModelConfig gdn = hybrid_of("gdn"), kda = hybrid_of("kda");
  auto& heads = gdn.mixers.of<GdnConfig>();
  heads.nh = heads.nkv = 2, heads.num_v_heads = 4, heads.expand_v = 2;
  heads.use_qk_norm = heads.use_rope = false, heads.use_short_conv = true;
  heads.activation = "silu";
  all.push_back({"gdn with convolution", gdn});
  auto& bounded = kda.mixers.of<KdaConfig>();
  bounded.use_conv = bounded.use_gate_bias = true, bounded.lower_bound = -5;
  kda.attention_bias = true;
  all.push_back({"kda with convolution", kda});
  ModelConfig mamba = hybrid_of("mamba2"), rwkv = hybrid_of("rwkv7");
  auto& published = mamba.mixers.of<Mamba2Config>();
  published.conv_init = "random", published.hidden_act = "silu";
  published.use_qk_norm = published.use_rope = published.use_z_bias = false;
  mamba.attention_bias = true;
  all.push_back({"mamba2 as published", mamba});
  auto& shifted = rwkv.mixers.of<Rwkv7Config>();
  shifted.use_tokenshift = shifted.use_bonus = shifted.balance_state = true;
  shifted.use_rope = shifted.use_qk_norm = shifted.groupnorm_att = false;
  shifted.num_key_value_heads = 4, shifted.gate_rank_type = 1;
  all.push_back({"rwkv7 with token shift", rwkv});
  return all;
}

class Laws : public testing::TestWithParam<Model> {
 protected:
  Laws() {
    torch::manual_seed(1);
    model_ = CausalLm(GetParam().config);
    model_->prepare({.logits_scaling = model_->config().attn_logits_scaling});
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

TEST_P(Laws, steps_of_a_bfloat16_model_have_the_same_bits_for_any_split) {
  const torch::NoGradGuard no_grad;
  model_->to(torch::kBFloat16);
  model_->prepare({.type = torch::kFloat32, .logits_scaling = model_->plan().logits_scaling});
  const Tensor ids = random_ids(2, 40);
  Tensor first;
  for (const std::vector<int64_t>& pieces :
       {std::vector<int64_t>{40}, {39, 1}, {1, 39}, {17, 5, 1, 1, 16}}) {
    SequenceRows rows(model_, 2, 40);
    const Tensor found = rows.step_in_pieces(ids, pieces);
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

TEST_P(Laws, rows_behind_a_chunk_are_nobodys) {
  const torch::NoGradGuard no_grad;
  const Tensor ids = random_ids(1, 150);
  const Tensor expected = model_(ids);
  SequenceRows rows(model_, 1, 150);
  int64_t begin = 0;
  for (const int64_t count : {70, 5, 1, 64}) {
    const Tensor last = rows.prefill_padded(0, ids[0].narrow(0, begin, count), 80);
    begin += count;
    EXPECT_LT(difference(last[0], expected[0][begin - 1]), 1e-4) << begin;
  }
  const Tensor rest = rows.step_in_pieces(ids.narrow(1, 140, 10), {10});
  EXPECT_LT(difference(rest, expected.narrow(1, 140, 10)), 1e-4);
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

std::vector<Tensor> gradients_of_hidden(CausalLm& model, const Tensor& ids) {
  model->zero_grad();
  model->hidden(ids).square().sum().backward();
  std::vector<Tensor> gradients;
  for (const Tensor& parameter : model->parameters()) gradients.push_back(parameter.grad());
  return gradients;
}

/// Some are zero but for rounding.
void expect_gradients(const CausalLm& model, const std::vector<Tensor>& found,
                      const std::vector<Tensor>& expected, double tolerance) {
  const auto names = model->named_parameters().keys();
  for (size_t i = 0; i < names.size(); ++i) {
    const double scale = expected[i].abs().max().item<double>();
    const double error = (found[i] - expected[i]).abs().max().item<double>();
    EXPECT_LT(error, tolerance * (scale + 1)) << names[i];
  }
}

/// In float64, with the weights of another.
CausalLm wide_copy(const CausalLm& model) {
  CausalLm copy(model->config(), /*random_weights=*/false);
  copy->to(torch::kFloat64);
  copy->prepare({.type = torch::kFloat64, .logits_scaling = model->plan().logits_scaling});
  const torch::NoGradGuard no_grad;
  const auto weights = model->named_parameters();
  for (auto& item : copy->named_parameters()) item.value().copy_(weights[item.key()]);
  return copy;
}

/// In float64: in float32 rounding shows, as forwards without gradients have kernels of their own.
TEST_P(Laws, blocks_that_run_again_in_backward_have_the_gradients_of_plain_ones) {
  const Tensor ids = random_ids(2, 70);
  CausalLm model = wide_copy(model_);
  const auto expected = gradients_of_hidden(model, ids);
  ComputePlan plan = model->plan();
  plan.checkpoints_activations = true;
  model->prepare(plan);
  expect_gradients(model, gradients_of_hidden(model, ids), expected, 1e-9);
}

TEST_P(Laws, rows_whose_tokens_ranks_share_have_the_gradients_of_whole_ones) {
  if (!std::ranges::all_of(model_->config().mixer_types, &MixerKind::splits_rows))
    GTEST_SKIP() << "a mixer that reads whole rows";
  for (const int64_t tokens : {7, 70}) {
    const Tensor ids = random_ids(2, tokens);
    CausalLm whole = wide_copy(model_);
    const auto expected = gradients_of_hidden(whole, ids);
    for (const int64_t count : {2, 3, 4}) {
      StageConfig stage;
      stage.context = tokens, stage.row_ranks = count;
      std::vector<CausalLm> models;
      for (int64_t i = 0; i < count; ++i) models.push_back(wide_copy(model_));
      std::vector<Tensor> found;
      run_ranks(count, [&](const std::shared_ptr<Communicator>& communicator) {
        const RowPartsPointer row = new_row_parts(stage, *communicator);
        CausalLm& model = models[static_cast<size_t>(row->index())];
        model->split_rows(row);
        const auto own = gradients_of_hidden(
            model, ids.narrow(1, row->first_token(row->index()), row->tokens_of(row->index())));
        communicator->sum(own);
        if (row->index() == 0) found = own;
      });
      SCOPED_TRACE(concat(tokens, " tokens, ", count, " ranks"));
      expect_gradients(whole, found, expected, 1e-9);
    }
  }
}

TEST_P(Laws, layers_walked_one_by_one_are_the_forward) {
  const torch::NoGradGuard no_grad;
  const Tensor ids = random_ids(2, 33);
  const Context context = model_->context(ids);
  Residual h = {model_->embed(ids)};
  for (int64_t i = 0; i < model_->config().num_hidden_layers; ++i) {
    Block& block = model_->layer(i);
    const auto [sum, input] = block->mixer_input(h);
    h = block->finish(sum, block->mixer().forward(input, context), context);
  }
  EXPECT_TRUE(torch::equal(model_->logits(model_->finish(h)), model_(ids)));
}

TEST_P(Laws, a_tree_gives_each_row_what_it_gets_alone) {
  const torch::NoGradGuard no_grad;
  const std::vector<std::vector<int32_t>> rows = {
      {5, 6, 7, 8, 9, 10}, {5, 6, 7, 8, 11}, {5, 6, 12}, {13}};
  const TokenTree tree =
      TokenTree::of(std::vector<std::span<const int32_t>>(rows.begin(), rows.end()), torch::kCPU);
  ASSERT_LT(tree.ids.size(1), 15) << "beginnings are shared";
  const Tensor nodes = model_->hidden(tree)[0];
  for (size_t r = 0; r < rows.size(); ++r) {
    const Tensor ids = torch::tensor(rows[r]).to(torch::kInt64).unsqueeze(0);
    const Tensor found = nodes.index_select(0, torch::tensor(tree.nodes[r], torch::kInt64));
    EXPECT_LT(difference(found, model_->hidden(ids)[0]), 1e-4) << "row " << r;
  }
}

TEST_P(Laws, a_reused_slot_answers_as_a_new_one) {
  std::vector<Request> requests;
  for (const int32_t length : {70, 3, 130, 1, 20}) {
    Request& request = requests.emplace_back();
    for (int32_t t = 0; t < length; ++t) request.prompt.push_back((t * 7 + length) % 64);
    request.options.max_tokens = 6;
  }
  const EngineOptions options{.memory_bytes = int64_t{1} << 22,
                              .max_sequences = 2,
                              .page_tokens = 64,
                              .prefill_chunk = 64,
                              .poisons_freed_memory = true};
  const auto found = Engine(model_, options).generate(requests);
  for (size_t i = 0; i < requests.size(); ++i) {
    const auto alone = Engine(model_, options).generate({&requests[i], 1}).front();
    EXPECT_EQ(found[i].ids, alone.ids) << "request " << i;
    EXPECT_EQ(found[i].logprobs, alone.logprobs) << "request " << i;
    EXPECT_EQ(found[i].ids.size(), 6U);
  }
}

TEST_P(Laws, a_copied_sequence_goes_on_as_the_first) {
  const torch::NoGradGuard no_grad;
  const Tensor ids = random_ids(1, 80).expand({2, 80});
  SequenceRows rows(model_, 2, 80);
  rows.prefill(0, ids[0].narrow(0, 0, 70));
  rows.copy(0, 1);
  const Tensor found = rows.step_in_pieces(ids.narrow(1, 70, 10), {1, 4, 5});
  EXPECT_TRUE(torch::equal(found[0], found[1]));
  EXPECT_LT(difference(found[0], model_(ids)[0].narrow(0, 70, 10)), 1e-4);
}

TEST_P(Laws, memory_has_the_bytes_that_are_foretold) {
  const ModelConfig& config = model_->config();
  const MemoryTypes types{torch::kBFloat16, torch::kFloat32};
  const DecodeState state(config, {.slots = 3, .pages = 5, .page_tokens = 64}, types, torch::kCPU);
  EXPECT_EQ(state.bytes(), 3 * slot_bytes(config, types) + 5 * page_bytes(config, types, 64));
  EXPECT_GT(state.bytes(), 0);
}

TEST_P(Laws, config_json_reads_back_as_it_was) {
  const Json written = to_json(model_->config());
  EXPECT_EQ(to_json(parse_model_config(written, "config.json")), written);
}

INSTANTIATE_TEST_SUITE_P(models, Laws, testing::ValuesIn(models()), [](const auto& info) {
  std::string name = info.param.name;
  std::ranges::replace_if(
      name, [](char c) { return std::isalnum(c) == 0; }, '_');
  return name;
});

}  // namespace
}  // namespace hypenet
