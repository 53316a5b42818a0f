// The whole conversion: HALO's steps in order, each a folder under --out that the next one reads.
#pragma once

#include <filesystem>
#include <optional>

#include "halo/recipe.h"
#include "halo/steps.h"
#include "report/table.h"
#include "run/run.h"

namespace hypenet {

/// Which steps of a conversion to make.
struct ConversionPlan {
  std::optional<ConversionStep> from = {};   // this one and later ones are made anew
  std::optional<ConversionStep> until = {};  // nothing is made after this one
};

/// What a conversion ends with.
struct ConversionResult {
  std::filesystem::path model;   // the finished HypeNet's folder, or that of plan.until
  std::filesystem::path report;  // report.html; empty with plan.until
  Table table;                   // teacher beside HypeNet; empty with plan.until
};

/// Runs what is not yet done of the recipe under options.out, after a look at all that could only
/// fail later (halo/early_checks.h):
///   tokens/  1-transfer/  2-align/  3-select/ (halo/selection.h)  4-hybrid/  5-distill/
///   6-finetune/  7-extend/ (where the recipe has it)  model/ (the HypeNet)  results.json
///   metrics.jsonl  report.html  recipe.json (run/kept_recipe.h)
/// A stage's folder is complete or absent; a training stage goes on from its last saved state.
/// Throws Interrupted when stopped, Error with one line for everything else.
ConversionResult convert(const HaloRecipe& recipe, const RunOptions& options,
                         const ConversionPlan& plan = {});

}  // namespace hypenet
