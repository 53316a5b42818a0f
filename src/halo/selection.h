// HALO step S within a conversion: the sweep that the recipe's rule needs, the rule, and the folder
// that keeps both.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "halo/conversion.h"
#include "halo/scores.h"
#include "model/config.h"
#include "run/run.h"
#include "text/tokenizer.h"

namespace hypenet {

/// Two folders to sweep.
struct SweepJob {
  std::filesystem::path teacher, aligned;
  std::filesystem::path journal = {};  // finished answers of tasks; empty: none is kept
  int64_t memory_bytes = 0;  // for a batch of prompts; 0: half of a GPU's free memory, or 2 GiB
};

/// Loads both models in config.precision and sweeps the layers (halo/sweep.h), all ranks together.
/// `held_out` may be empty where no task reads it.
LayerScores sweep_checkpoints(const SweepJob& job, const SweepConfig& config,
                              const std::vector<int32_t>& held_out, uint64_t seed,
                              const RunOptions& options);

/// The sweep that a recipe's choice needs: none for layers given by hand and the rule "uniform",
/// the tasks text and lazy alone for "kl" and "lazy", both beside the recipe's for "pilot".
std::optional<SweepConfig> sweep_of(const HaloRecipe& recipe);

/// What step S of a recipe could only fail on, found before anything is trained. Throws Error for a
/// number of layers, or layers given by hand, that a model of `teacher`'s does not have; for tasks
/// that cannot be loaded; and for a rule whose evidence the sweep's tasks do not give.
void check_selection(const HaloRecipe& recipe, const ModelConfig& teacher,
                     const Tokenizer& tokenizer);

/// Chooses, all ranks together; the first one writes the stage's folder: selection.json, run.json,
/// scores.csv where there was a sweep, pilots.csv where there were pilots. Until then finished work
/// is beside it: <folder>.journal, 3-sweep/ (the scores) and 3-pilots/. Returns the layers.
std::vector<int64_t> select_attention(const Conversion& conversion, const Stage& stage);

/// The layers that select_attention wrote into `folder`. Throws Error naming file and key.
std::vector<int64_t> read_selection(const std::filesystem::path& folder);

}  // namespace hypenet
