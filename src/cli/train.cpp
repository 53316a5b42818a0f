// hypenet train: a model from scratch.
#include <iostream>
#include <memory>

#include "cli/commands.h"
#include "cli/recipe_options.h"
#include "halo/pipeline.h"

namespace hypenet {
namespace {

constexpr const char* kExample = R"(Example:
  hypenet train --recipe recipes/tiny-teacher.json --device cuda

Ctrl-C saves and stops; the same command goes on from there.)";

void run(const RecipeOptions& options) {
  const PretrainRecipe recipe = read_pretrain_recipe(options.source);
  RunProgress progress;
  const RunOptions run = run_options(options, progress);
  std::cout << "model: " << pretrain(recipe, run).string() << '\n';
}

}  // namespace

void add_train_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("train", "train a Transformer or a HypeNet from scratch");
  const auto options = std::make_shared<RecipeOptions>();
  add_recipe_options(*command, *options);
  command->footer(kExample);
  command->callback([options] { run(*options); });
}

}  // namespace hypenet
