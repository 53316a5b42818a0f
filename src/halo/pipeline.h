// The whole conversion: HALO's steps in order, each a folder under --out that the next one reads.
#pragma once

#include <filesystem>
#include <optional>

#include "eval/report.h"
#include "halo/evaluate.h"
#include "halo/recipe.h"
#include "halo/run.h"

namespace hypenet {

/// What a conversion ends with.
struct ConversionResult {
  std::filesystem::path model;   // the finished HypeNet's folder
  std::filesystem::path report;  // report.html
  Table table;                   // teacher beside HypeNet
};

/// Runs what is not yet done of the recipe under options.out:
///   tokens/  1-transfer/  2-align/  3-select/ (halo/selection.h)  4-hybrid/  5-distill/
///   6-finetune/ model/ (the HypeNet)  results.json  metrics.jsonl  report.html
/// A stage's folder is complete or absent; a training stage goes on from its last saved state.
/// Throws Interrupted when stopped, Error with one line for everything else.
ConversionResult convert(const HaloRecipe& recipe, const RunOptions& options);

/// Trains a model from scratch (cross-entropy), phase after phase, into options.out/model. Resumes
/// likewise.
std::filesystem::path pretrain(const PretrainRecipe& recipe, const RunOptions& options);

}  // namespace hypenet
