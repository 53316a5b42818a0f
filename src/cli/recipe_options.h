// --recipe, --teacher, --data, --validation, --out and --set: what the commands that run a recipe
// share.
#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>

#include "cli/device.h"
#include "cli/run_progress.h"
#include "halo/recipe.h"
#include "halo/run.h"

namespace hypenet {

struct RecipeOptions {
  RecipeSource source;
  std::filesystem::path out;  // empty: out/<recipe's file name>
  DeviceOptions device;
};

/// Adds the options; `options` must outlive the parsing.
void add_recipe_options(CLI::App& command, RecipeOptions& options);

/// Chooses device and output folder. `progress` must outlive the run.
RunOptions run_options(const RecipeOptions& options, RunProgress& progress);

}  // namespace hypenet
