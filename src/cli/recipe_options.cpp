// The options of the commands that run a recipe.
#include "cli/recipe_options.h"

#include "cli/interrupt.h"

namespace hypenet {

void add_recipe_options(CLI::App& command, RecipeOptions& options) {
  command.add_option("--recipe", options.source.path, "recipe file (JSON)")->required();
  command.add_option("--data", options.source.data,
                     "text to train on: files or folders (.txt, .jsonl, .gz, .parquet)");
  command.add_option("--validation", options.source.validation,
                     "held-out text; without it the end of the training text");
  command.add_option("--text-field", options.source.text_field,
                     "JSON field or Parquet column of the text, instead of the recipe's");
  command
      .add_option("--on-bad-document", options.source.on_bad_document,
                  "a document that cannot be read: skip (and count), or fail")
      ->check(CLI::IsMember({"skip", "fail"}));
  command.add_option("--out", options.out, "folder for all results (default: out/<recipe>)");
  command.add_option("--set", options.source.settings, "change a recipe's key: section.key=value")
      ->take_all();
  add_device_options(command, options.device);
}

RunOptions run_options(const RecipeOptions& options, RunProgress& progress) {
  RunOptions run;
  run.out =
      options.out.empty() ? std::filesystem::path("out") / options.source.path.stem() : options.out;
  run.device = use_device(options.device);
  run.observer = &progress;
  run.stop = &interrupt_flag();
  return run;
}

}  // namespace hypenet
