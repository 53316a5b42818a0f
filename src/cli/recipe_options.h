// --recipe, --resume, --data, --validation, --out and --set: what the commands that run a recipe
// share.
#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>

#include "cli/device.h"
#include "cli/ranks.h"
#include "cli/run_progress.h"
#include "halo/recipe.h"
#include "run/run.h"

namespace hypenet {

struct RecipeOptions {
  RecipeSource source;
  std::filesystem::path out;     // empty: out/<recipe's file name>
  std::filesystem::path resume;  // folder of a run whose recipe it is; empty: source.path is given
  DeviceOptions device;
  RankOptions ranks;
};

/// Adds the options; `options` must outlive the parsing.
void add_recipe_options(CLI::App& command, RecipeOptions& options);

/// Where the recipe of `hypenet <command>` is: the file, or what the run to resume kept. Throws
/// Error without either, or for a folder without a run of this command.
RecipeSource recipe_source(const RecipeOptions& options, const std::string& command);

/// What goes on with the run: "hypenet convert --resume out/tiny --device cuda".
std::string resume_command(const RecipeOptions& options, const std::string& command);

/// Runs the function; an Interrupted comes back with how to go on in its text.
template <class Function>
auto with_way_on(const std::string& way_on, const Function& function) {
  try {
    return function();
  } catch (const Interrupted&) {
    throw Interrupted(way_on);
  }
}

/// Runs the work as a rank of the job that was asked for, with device and output folder chosen;
/// only the first rank reports. Where the ranks are to be started, they run the work instead.
void run_with_options(const RecipeOptions& options,
                      const std::function<void(const RunOptions&)>& work);

}  // namespace hypenet
