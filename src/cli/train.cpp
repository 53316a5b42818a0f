// hypenet train: a model learns from text alone, from scratch or from a folder's weights on.
#include <errno.h>  // program_invocation_name: what the user called

#include <iostream>
#include <memory>

#include "cli/commands.h"
#include "cli/recipe_options.h"
#include "run/pretrain.h"

namespace hypenet {
namespace {

constexpr const char* kExample = R"(Examples:
  hypenet train --recipe recipes/tiny-teacher.json --device cuda
  hypenet train --recipe recipes/supra-uptrain.json --model out/supra/4-hybrid --data fineweb-edu/ --device cuda
  hypenet train --resume out/tiny-teacher --device cuda

Ctrl-C saves and stops; the same command goes on from there, and so does --resume.)";

void show(const std::filesystem::path& model, const RunOptions& run) {
  std::cout << "model:  " << model.string() << "\nlosses: " << (run.out / "metrics.jsonl").string()
            << " (hypenet report --training draws them)\nresults: "
            << (run.out / "results.json").string() << "\ntry:    " << program_invocation_name
            << " generate " << model.string() << " --prompt \"The sun\"\n";
}

void run(const RecipeOptions& options) {
  const PretrainRecipe recipe = read_pretrain_recipe(recipe_source(options, "train"));
  const std::string way_on = concat("interrupted; the same command goes on from here, and so does ",
                                    resume_command(options, "train"));
  run_with_options(options, [&](const RunOptions& run) {
    const auto model = with_way_on(way_on, [&] { return pretrain(recipe, run); });
    if (run.is_first_rank()) show(model, run);
  });
}

}  // namespace

void add_train_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("train", "train a Transformer or a HypeNet on text alone");
  const auto options = std::make_shared<RecipeOptions>();
  add_recipe_options(*command, *options);
  command
      ->add_option(
          "--model", options->source.model,
          "model folder or GGUF file whose weights training begins with, and its tokenizer")
      ->excludes("--resume");
  command->footer(kExample);
  command->callback([options] { run(*options); });
}

}  // namespace hypenet
