// Ranks that share the tokens of rows get the loss and the gradients of one rank with whole rows.
#include "train/row_ranks.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/compare.h"
#include "tests/support/expect_error.h"
#include "tests/support/logged_losses.h"
#include "tests/support/shared_memory_ranks.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tiny_model.h"
#include "tests/support/token_dataset.h"
#include "train/cross_entropy.h"

namespace hypenet {
namespace {

using testing_support::run_ranks;
using testing_support::tiny_hypenet_config;
using testing_support::tiny_teacher_config;

StageConfig stage_of(int64_t tokens, int64_t row_ranks = 1) {
  StageConfig stage;
  stage.context = tokens, stage.row_ranks = row_ranks;
  return stage;
}

CausalLm new_model(const ModelConfig& config, const StageConfig& stage) {
  torch::manual_seed(3);
  CausalLm model(config);
  model->prepare(stage.compute_plan());
  return model;
}

/// The loss and, after it, the gradients of all parameters.
std::vector<Tensor> loss_and_gradients(CausalLm& model, const Batch& batch, double weight) {
  CrossEntropyObjective objective(model);
  std::vector<Tensor> found = {objective.accumulate(batch, weight) * weight};
  for (const Tensor& parameter : model->parameters()) found.push_back(parameter.grad());
  return found;
}

void expect_like_one_rank(const ModelConfig& config, StageConfig stage) {
  const Tensor ids = torch::randint(config.vocab_size, {2, stage.context + 1});
  const Batch batch = {ids.narrow(1, 0, stage.context), ids.narrow(1, 1, stage.context),
                       torch::zeros({2, stage.context}, torch::kBool)};
  CausalLm whole = new_model(config, stage);
  const std::vector<Tensor> expected = loss_and_gradients(whole, batch, 1);
  for (stage.row_ranks = 2; stage.row_ranks <= 4; ++stage.row_ranks) {
    std::vector<CausalLm> models;
    for (int64_t i = 0; i < stage.row_ranks; ++i) models.push_back(new_model(config, stage));
    std::vector<Tensor> found;
    run_ranks(stage.row_ranks, [&](const std::shared_ptr<Communicator>& communicator) {
      const Ranks ranks = communicator->ranks();
      CausalLm& model = models[static_cast<size_t>(ranks.index)];
      model->split_rows(new_row_parts(stage, *communicator));
      const Batch own = own_tokens(stage, ranks, batch);
      const auto share = static_cast<double>(own.ids.size(1)) / static_cast<double>(stage.context);
      const auto sums = loss_and_gradients(model, own, share);
      communicator->sum(sums);
      if (ranks.is_first()) found = sums;
    });
    ASSERT_EQ(found.size(), expected.size());
    for (size_t i = 0; i < found.size(); ++i) {
      EXPECT_LT(relative_rms(found[i], expected[i]), 1e-4)
          << stage.context << " tokens, " << stage.row_ranks << " ranks, result " << i;
    }
  }
}

TEST(RowRanks, a_hypenets_gradients_are_those_of_one_rank) {
  for (const int64_t tokens : {7, 33, 129})
    expect_like_one_rank(tiny_hypenet_config(), stage_of(tokens));
}

TEST(RowRanks, rotated_queries_and_keys_have_the_positions_of_the_row) {
  expect_like_one_rank(tiny_teacher_config(), stage_of(33));
}

TEST(RowRanks, so_are_those_of_blocks_that_run_again_in_backward) {
  StageConfig stage = stage_of(33);
  stage.activation_checkpointing = true;
  expect_like_one_rank(tiny_hypenet_config(), stage);
}

TEST(RowRanks, ranks_of_a_row_follow_each_other) {
  const StageConfig stage = stage_of(7, 2);
  run_ranks(4, [&](const std::shared_ptr<Communicator>& communicator) {
    const Ranks ranks = communicator->ranks();
    const RowPartsPointer row = new_row_parts(stage, *communicator);
    EXPECT_EQ(row->index(), ranks.index % 2);
    const Tensor all = row->gather(torch::full({1}, ranks.index));
    EXPECT_EQ(all[0].item<int64_t>(), ranks.index / 2 * 2);
    EXPECT_EQ(all[1].item<int64_t>(), ranks.index / 2 * 2 + 1);
    EXPECT_EQ(row_groups(stage, ranks).index, ranks.index / 2);
    EXPECT_EQ(row_groups(stage, ranks).count, 2);
  });
}

/// Trains the models, one a rank, on a small corpus. Returns the loss of each step.
std::vector<double> losses_of(std::vector<CausalLm>& models, const StageConfig& stage) {
  const TemporaryFolder folder;
  std::vector<int32_t> tokens;
  for (int32_t i = 0; i < 400; ++i) tokens.push_back(i * i % 61);
  write_dataset(folder / "tokens", {.shards = {tokens}, .vocab_size = 64});
  const Batches batches(std::make_shared<TokenDataset>(folder / "tokens"), nullptr,
                        {stage.sequences, stage.context, 5, stage.mixture});
  run_ranks(std::ssize(models), [&](const std::shared_ptr<Communicator>& communicator) {
    CausalLm& model = models[static_cast<size_t>(communicator->ranks().index)];
    model->split_rows(new_row_parts(stage, *communicator));
    CrossEntropyObjective objective(model);
    const TrainJob job{.stage = "stage",
                       .config = stage,
                       .parameters = trainable_parameters(model),
                       .folder = folder.path(),
                       .communicator = communicator};
    train(job, batches, objective);
  });
  return testing_support::logged_losses(folder.path());
}

TEST(RowRanks, groups_of_ranks_learn_what_one_learns_alone) {
  StageConfig stage = stage_of(17);
  stage.steps = 4, stage.sequences = 3, stage.log_every = 1;
  std::vector<CausalLm> alone = {new_model(tiny_hypenet_config(), stage)}, models;
  const std::vector<double> expected = losses_of(alone, stage);
  stage.row_ranks = 2;  // of four: a group with one row, and one with two
  for (int64_t i = 0; i < 4; ++i) models.push_back(new_model(tiny_hypenet_config(), stage));
  const std::vector<double> found = losses_of(models, stage);
  ASSERT_EQ(found.size(), 4U);
  for (size_t i = 0; i < found.size(); ++i)
    EXPECT_NEAR(found[i], expected[i], 1e-5 * std::abs(expected[i])) << "step " << i;
  const auto parameters = models.front()->named_parameters();
  for (CausalLm& model : models) {
    for (const auto& item : model->named_parameters())
      EXPECT_TRUE(torch::equal(item.value(), parameters[item.key()])) << item.key();
  }
}

TEST(RowRanks, all_ranks_of_a_row_find_the_number_that_is_not_finite) {
  const StageConfig stage = stage_of(17, 2);
  std::vector<CausalLm> models;
  for (int64_t i = 0; i < 2; ++i) {
    models.push_back(new_model(tiny_hypenet_config(), stage));
    const torch::NoGradGuard no_grad;
    models.back()->named_parameters()["model.layers.1.self_attn.o_proj.weight"].fill_(NAN);
  }
  EXPECT_ERROR(losses_of(models, stage), "first not finite: layer 1 mixer");
}

TEST(RowRanks, what_ranks_or_mixers_cannot_do_is_refused) {
  const StageConfig stage = stage_of(512, 2);
  MixerKind whole_rows = kLightningMixer;
  whole_rows.name = "delta", whole_rows.splits_rows = false;
  check_row_ranks(stage, {0, 4}, {&kLightningMixer, &kAttentionMixer}, "finetune");
  EXPECT_ERROR(check_row_ranks(stage, {0, 3}, {}, "finetune"),
               "finetune: row_ranks: expected a divisor of the 3 ranks, found 2");
  EXPECT_ERROR(check_row_ranks(stage, {0, 2}, {&kLightningMixer, &whole_rows}, "finetune"),
               "finetune: row_ranks: mixer delta: expected 1, as it reads whole rows, found 2");
  EXPECT_ERROR(check_stage(stage_of(3, 4), "finetune"),
               "finetune: row_ranks: expected at most one for each of the row's 3 tokens, found 4");
  EXPECT_ERROR(check_stage(stage_of(3, 0), "finetune"),
               "finetune: row_ranks: expected a positive number, found 0");
}

}  // namespace
}  // namespace hypenet
