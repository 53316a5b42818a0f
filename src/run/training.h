// One training stage of a run: what it freezes, its model, its text.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "data/token_shard.h"
#include "model/causal_lm.h"
#include "model/weights.h"
#include "run/run.h"
#include "text/tokenizer.h"
#include "train/loop.h"

namespace hypenet {

/// Throws Error when the tokenizer has ids that the model has no embedding for.
void check_vocabulary(const Tokenizer& tokenizer, const ModelConfig& config,
                      const std::string& place);

/// A stage without its text: whether the device can do what it asks for, and rows of its mixture
/// fit. Throws Error naming `place`.
void check_stage_rows(const StageConfig& stage, const Tokenizer& tokenizer, torch::Device device,
                      const std::string& place);

/// Throws Error naming `place` for a text that is shorter than a row of the stage.
void check_stage_text(const StageConfig& stage, const TokenDataset& text, const std::string& place);

/// What stage.frozen and stage.optimizer.rates say must have an effect on these parameters, by
/// their names. Throws Error naming `place` for a part that is in no name, for one of rates that is
/// in no name of a parameter that is trained, and when nothing is left to train.
void check_parts(const StageConfig& stage, const std::vector<std::string>& names,
                 const std::string& place);

/// The parameters of `model` that require a gradient, in float32 and on the device of the run.
struct StageTraining {
  const Stage& stage;
  const StageConfig& config;
  CausalLm model;
  uint64_t seed = 0;
  std::shared_ptr<Communicator> communicator = std::make_shared<OneProcess>();
  ShardedWeights::Gathered gathered = ShardedWeights::Gathered::kAll;  // where several ranks train
  std::filesystem::path folder = stage.folder.parent_path();  // of its saved state and its metrics
};

/// Trains them, each rank on its rows, and throws Interrupted when stopped. Parameters that the
/// stage freezes lose their requires_grad. Copies that the model computes with are kept up to date.
void train_stage(const StageTraining& training, const std::shared_ptr<const TokenDataset>& text,
                 const Tokenizer& tokenizer, Objective& objective, const RunOptions& options);

/// Deletes the saved state of a stage whose folder is written.
void remove_state(const Stage& stage);

/// A model to train: float32 parameters, and copies of them in the type that the stage computes in.
CausalLm load_trained(const Checkpoint& checkpoint, const StageConfig& stage, torch::Device device);

/// Shares the teacher of a stage, which nothing trains, out over the ranks if stage.shard_teacher
/// says so.
void share_teacher(CausalLm& teacher, const StageConfig& stage,
                   const std::shared_ptr<Communicator>& communicator);

/// A model that nothing trains: its parameters in the type that the stage computes in. For
/// share_teacher.
CausalLm load_frozen(const Checkpoint& checkpoint, const StageConfig& stage, torch::Device device,
                     const std::shared_ptr<Communicator>& communicator);

}  // namespace hypenet
