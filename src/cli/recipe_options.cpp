// The options of the commands that run a recipe.
#include "cli/recipe_options.h"

#include <errno.h>  // program_invocation_name: what the user called

#include "cli/interrupt.h"
#include "run/kept_recipe.h"
#include "run/run_files.h"

namespace hypenet {
namespace {

std::filesystem::path out_folder(const RecipeOptions& options) {
  if (!options.resume.empty()) return options.resume;
  return options.out.empty() ? default_out(options.source.path) : options.out;
}

}  // namespace

void add_recipe_options(CLI::App& command, RecipeOptions& options) {
  CLI::Option* resume = command.add_option(
      "--resume", options.resume,
      "folder of an earlier run: goes on with it, by the recipe and the paths it began with");
  command.add_option("--recipe", options.source.path, "recipe file (JSON)")->excludes(resume);
  command
      .add_option("--data", options.source.data,
                  "text to train on: files or folders (.txt, .jsonl, .gz, .parquet)")
      ->excludes(resume);
  command
      .add_option("--validation", options.source.validation,
                  "held-out text; without it the end of the training text")
      ->excludes(resume);
  command
      .add_option("--text-field", options.source.text_field,
                  "JSON field or Parquet column of the text, instead of the recipe's")
      ->excludes(resume);
  command
      .add_option("--on-bad-document", options.source.on_bad_document,
                  "a document that cannot be read: skip (and count), or fail")
      ->check(CLI::IsMember({"skip", "fail"}))
      ->excludes(resume);
  command.add_option("--out", options.out, "folder for all results (default: out/<recipe>)")
      ->excludes(resume);
  command
      .add_option("--set", options.source.settings,
                  "change a recipe's key: section.key=value (hypenet recipe --list names them)")
      ->take_all();
  add_device_options(command, options.device);
  add_rank_options(command, options.ranks);
}

RecipeSource recipe_source(const RecipeOptions& options, const std::string& command) {
  RecipeSource source = options.source;
  if (!options.resume.empty()) source.path = kept_recipe(options.resume, command);
  HYPENET_CHECK(!source.path.empty(), "--recipe: expected a recipe file, or --resume and the ",
                "folder of a run, found neither; see hypenet ", command, " --help");
  return source;
}

std::string resume_command(const RecipeOptions& options, const std::string& command) {
  std::string text =
      concat(program_invocation_name, " ", command, " --resume ", out_folder(options).string());
  if (options.device.device != "cpu") text += " --device " + options.device.device;
  if (options.ranks.count != "1") text += " --ranks " + options.ranks.count;
  return text;
}

void run_with_options(const RecipeOptions& options,
                      const std::function<void(const RunOptions&)>& work) {
  as_rank(options.ranks, options.device,
          [&](torch::Device device, const std::shared_ptr<Communicator>& communicator) {
            RunProgress progress;
            const bool is_first = communicator->ranks().is_first();
            work({.out = out_folder(options),
                  .device = device,
                  .observer = is_first ? &progress : nullptr,
                  .stop = &interrupt_flag(),
                  .communicator = communicator});
          });
}

}  // namespace hypenet
