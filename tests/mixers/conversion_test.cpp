// HALO with each mixer that attention can become: every row of the table is run.
#include <gtest/gtest.h>

#include "bench/model_flops.h"
#include "engine/engine.h"
#include "halo/align.h"
#include "halo/distill.h"
#include "halo/hybrid.h"
#include "halo/variant_answers.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tiny_model.h"
#include "tests/support/twins.h"
#include "train/cross_entropy.h"

namespace hypenet {
namespace {

using testing_support::replaced_model;
using testing_support::spread_model;

ModelConfig teacher_config() {
  ModelConfig config = testing_support::tiny_teacher_config();
  config.num_hidden_layers = 3;
  config.mixer_types.assign(3, &kAttentionMixer);
  config.max_position_embeddings = 512;
  return config;
}

Batch some_batch() {
  torch::manual_seed(7);
  return {torch::randint(64, {2, 12}, torch::kInt64), torch::randint(64, {2, 12}, torch::kInt64),
          torch::zeros({2, 12}, torch::kBool)};
}

/// Losses of plain gradient descent on one batch.
std::vector<double> losses(Objective& objective, CausalLm& trained, double rate) {
  std::vector<double> found;
  for (int step = 0; step < 12; ++step) {
    trained->zero_grad();
    found.push_back(objective.accumulate(some_batch(), 1).item<double>());
    const torch::NoGradGuard no_grad;
    for (auto& [name, parameter] : trainable_parameters(trained)) {
      parameter.add_(parameter.grad(), -rate);
    }
  }
  return found;
}

/// Of each variant's every answer and score: those of the model with that layer replaced.
void expect_sweep_of_replaced_layers(const CausalLm& teacher, CausalLm twins) {
  LayerVariants variants(teacher, twins);
  const std::vector<ScoredRow> rows = {{{1, 2, 3, 4, 5, 6, 7}, 3}, {{1, 2, 3, 9, 8}, 3}};
  std::vector<Request> requests = {{{5, 6, 7, 8}, {}}, {{9, 1}, {}}};
  for (Request& request : requests) request.options.max_tokens = 5;
  const auto scores =
      score_variants(variants.teacher(), rows, variants.hidden(), {.batch_tokens = 64});
  std::vector answers(4, std::vector<std::vector<int32_t>>(requests.size()));
  AnswerUse use;
  use.on_answer = [&](size_t variant, size_t request, const std::vector<int32_t>& ids) {
    answers[variant][request] = ids;
  };
  VariantRespondent(variants).generate(requests, use);
  for (int64_t variant = 0; variant <= 3; ++variant) {
    const auto v = static_cast<size_t>(variant);
    Engine engine(replaced_model(teacher, twins, variant - 1));
    const RowScores expected = engine.score(rows);
    for (size_t row = 0; row < rows.size(); ++row) {
      for (size_t i = 0; i < expected[row].size(); ++i) {
        EXPECT_NEAR(scores[v][row][i].logprob, expected[row][i].logprob, 1e-4) << variant;
      }
    }
    const auto expected_answers = engine.generate(requests);
    for (size_t i = 0; i < requests.size(); ++i) {
      EXPECT_EQ(answers[v][i], expected_answers[i].ids) << variant << " " << i;
    }
  }
}

class Conversion : public testing::TestWithParam<const TwinRule*> {
 protected:
  void SetUp() override {
    write("teacher", teacher_->config(), named_weights(*teacher_, torch::kFloat32));
  }

  std::string_view mixer() const { return GetParam()->mixer->name; }

  ModelConfig config(const std::vector<int64_t>& attention) const {
    return hypenet_config(teacher_->config(), mixer_types(3, attention, mixer()));
  }

  Checkpoint write(const std::string& name, const ModelConfig& config, NamedTensors tensors) {
    write_checkpoint(folder_ / name, {.config = to_json(config),
                                      .tensors = std::move(tensors),
                                      .run = {},
                                      .companions_from = {}});
    return Checkpoint(folder_ / name);
  }

  /// Step 0 and, of its twins, the hybrid with attention in the middle.
  CausalLm twins() {
    return load_model(write("twins", config({}),
                            transfer_weights(Checkpoint(folder_ / "teacher"), config({}), {})));
  }
  CausalLm hybrid() {
    twins();
    return load_model(write(
        "hybrid", config({1}),
        hybrid_weights(Checkpoint(folder_ / "teacher"), Checkpoint(folder_ / "twins"), {1}, {})));
  }

  TemporaryFolder folder_;
  CausalLm teacher_ = spread_model(teacher_config(), 5);
};

TEST_P(Conversion, transfer_fills_twins_that_are_the_teachers_but_for_their_mixers) {
  const CausalLm twins = this->twins();
  const auto expected = teacher_->named_parameters();
  for (const auto& item : twins->named_parameters()) {
    EXPECT_TRUE(item.value().isfinite().all().item<bool>()) << item.key();
    if (item.key().find(".self_attn.") != std::string::npos) continue;
    EXPECT_TRUE(torch::equal(item.value(), expected[item.key()])) << item.key();
  }
  EXPECT_EQ(to_json(twins->config()), to_json(config({})));
}

TEST_P(Conversion, alignment_brings_twins_nearer) {
  CausalLm twins = this->twins();
  AlignObjective objective(teacher_, twins);
  const auto found = losses(objective, twins, 0.05);
  EXPECT_LT(found.back(), 0.97 * found.front());
}

TEST_P(Conversion, distillation_brings_the_hybrid_nearer) {
  CausalLm student = hybrid();
  DistillObjective objective(teacher_, student);
  const auto found = losses(objective, student, 0.02);
  EXPECT_LT(found.back(), 0.97 * found.front());
}

TEST_P(Conversion, what_is_saved_is_what_is_loaded) {
  const torch::NoGradGuard no_grad;
  CausalLm model = hybrid();
  const Tensor ids = some_batch().ids;
  const Tensor expected = model(ids);
  CausalLm again =
      load_model(write("again", model->config(), named_weights(*model, torch::kFloat32)));
  EXPECT_TRUE(torch::equal(again(ids), expected));
}

TEST_P(Conversion, the_sweep_scores_and_answers_as_models_with_one_layer_replaced) {
  expect_sweep_of_replaced_layers(teacher_, testing_support::new_twins(teacher_, 6, mixer()));
}

TEST_P(Conversion, flops_count_every_weight_of_the_mixers_twice) {
  CausalLm twins = this->twins();
  double weights = 0;
  for (const auto& item : twins->named_parameters()) {
    const bool is_mixer = item.key().find(".self_attn.") != std::string::npos;
    if (is_mixer && item.value().dim() == 2) weights += static_cast<double>(item.value().numel());
  }
  const auto parts = prefill_flops(twins->config(), 64);
  EXPECT_EQ(parts[0].name, "model mixer projections");
  EXPECT_EQ(parts[0].forward, 2 * weights);
  EXPECT_EQ(parts[1].name, concat("model ", GetParam()->mixer->title));
  EXPECT_GT(parts[1].forward, 0);
}

TEST(MixedConversion, the_sweep_scores_and_answers_as_models_with_one_layer_replaced) {
  const CausalLm teacher = spread_model(teacher_config(), 5);
  const auto kinds = mixer_types({"kda", "lightning-attn", "gdn"}, {});
  expect_sweep_of_replaced_layers(teacher, testing_support::new_twins(teacher, 6, kinds));
}

INSTANTIATE_TEST_SUITE_P(mixers, Conversion,
                         testing::ValuesIn(twin_rules().begin(), twin_rules().end()),
                         [](const auto& info) {
                           std::string name(info.param->mixer->name);
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace hypenet
