// What a run could only fail on hours later, looked at before its work begins.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "halo/recipe.h"
#include "halo/run.h"
#include "text/tokenizer.h"
#include "train/loop.h"

namespace hypenet {

/// A stage without its text: whether the device can do what it asks for, and rows of its mixture
/// fit. Throws Error naming `place`.
void check_stage_rows(const StageConfig& stage, const Tokenizer& tokenizer, torch::Device device,
                      const std::string& place);

/// Throws Error naming `place` for a text that is shorter than a row of the stage.
void check_stage_text(const StageConfig& stage, const TokenDataset& text, const std::string& place);

/// Throws Error when no recall prompt can be made with this tokenizer, where the recipe wants some.
void check_recall(const HaloRecipe& recipe, const Tokenizer& tokenizer);

/// Throws Error for held-out text that the sweep or the evaluation of a recipe cannot be made from.
/// What they make of a short text is noted.
void check_held_out(const HaloRecipe& recipe, const Tokenizer& tokenizer,
                    const std::vector<int32_t>& held_out, const RunOptions& options);

/// Makes options.out, and throws Error unless a run can write into it: also for a recipe.json that
/// no run wrote, and for folders in the place of the run's files.
void prepare_out(const RunOptions& options);

/// Throws Error for text of the recipe that is not there and not yet tokenized in `out`.
void check_text_files(const DataConfig& data, const std::filesystem::path& out);

}  // namespace hypenet
