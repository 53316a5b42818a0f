// What the stages of one conversion share.
#pragma once

#include <cstdint>
#include <filesystem>

#include "halo/hybrid.h"
#include "halo/recipe.h"
#include "halo/steps.h"
#include "model/config.h"
#include "run/corpus.h"
#include "run/run.h"
#include "store/checkpoint.h"
#include "text/tokenizer.h"

namespace hypenet {

/// The parts of a conversion that draw random numbers.
enum class SeedOf : int64_t {
  kGates,
  kAlign,
  kDistill,
  kFinetune,
  kSweep,
  kEvaluate,
  kPilot,
  kExtend
};

/// References have to outlive it.
struct Conversion {
  const HaloRecipe& recipe;
  const RunOptions& options;
  Checkpoint teacher;
  ModelConfig teacher_config;
  Tokenizer tokenizer;
  Corpus corpus = {};

  uint64_t seed(SeedOf part) const;
  TransferOptions transfer_options() const { return {recipe.gate_std, seed(SeedOf::kGates)}; }

  /// What each layer is where it becomes recurrent, by the recipe. Throws Error where that names
  /// more or fewer than the teacher has layers.
  std::vector<std::string> mixers() const;

  /// The hybrid's config with attention in these layers. Throws Error as hypenet_config and mixers.
  ModelConfig hybrid_config(const std::vector<int64_t>& attention_layers) const {
    return hypenet_config(teacher_config, mixer_types(mixers(), attention_layers));
  }
  std::filesystem::path folder(ConversionStep step) const {
    return options.out / about_step(step).folder;
  }
};

/// Completed (run/run.h) for the settings of all stages of a conversion, but for the teacher's
/// identity.
Json completed_settings(Json settings, const std::filesystem::path& place);

}  // namespace hypenet
