// hypenet convert: a Transformer becomes a HypeNet.
#include <errno.h>  // program_invocation_name: what the user called

#include <iostream>
#include <memory>

#include "cli/commands.h"
#include "cli/recipe_options.h"
#include "halo/pipeline.h"

namespace hypenet {
namespace {

constexpr const char* kExample = R"(Examples:
  hypenet convert --recipe recipes/tiny.json
  hypenet convert --recipe recipes/hypenet-2b.json --teacher Qwen3-1.7B --data fineweb-edu/ --out out/hypenet-2b
  hypenet convert --resume out/hypenet-2b

Step by step, with layers of your own choice:
  hypenet convert --recipe recipes/tiny.json --out out/tiny --until align
  hypenet convert --resume out/tiny --set 'select.layers=[1,6]'
  hypenet convert --resume out/tiny --from select --set 'select.layers=[2,5]'

Steps: transfer, align, select, hybrid, distill, finetune, extend (where the recipe has it), model; then teacher
and HypeNet are measured.
Ctrl-C saves and stops; the same command goes on from there, and so does --resume.)";

struct ConvertCommand {
  RecipeOptions recipe;
  std::string from, until;
};

ConversionPlan read_plan(const ConvertCommand& command) {
  const auto step = [](const char* option, const std::string& name) {
    std::optional<ConversionStep> found;
    if (name.empty()) return found;
    try {
      found = parse_step(name);
    } catch (const Error& error) {
      throw Error(concat(option, ": ", error.what()));
    }
    return found;
  };
  return {step("--from", command.from), step("--until", command.until)};
}

void show(const ConversionResult& result, const ConvertCommand& command) {
  if (!command.until.empty()) {
    std::cout << command.until << ": " << result.model.string()
              << "\ngo on:  " << resume_command(command.recipe, "convert") << '\n';
    return;
  }
  std::cout << format_table(result.table) << "\nmodel:  " << result.model.string()
            << "\nreport: " << result.report.string() << "\ntry:    " << program_invocation_name
            << " generate " << result.model.string() << " --prompt \"The sun\"\n";
}

void run(const ConvertCommand& command) {
  const ConversionPlan plan = read_plan(command);
  const HaloRecipe recipe = read_halo_recipe(recipe_source(command.recipe, "convert"));
  const std::string resume = resume_command(command.recipe, "convert");
  // With --from the same command would begin again.
  const std::string way_on =
      plan.from ? concat("interrupted; ", resume, " goes on from here")
                : concat("interrupted; the same command goes on from here, and so does ", resume);
  run_with_options(command.recipe, [&](const RunOptions& run) {
    const ConversionResult result = with_way_on(way_on, [&] { return convert(recipe, run, plan); });
    if (run.is_first_rank()) show(result, command);
  });
}

}  // namespace

void add_convert_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("convert", "turn a Transformer into a HypeNet by HALO");
  const auto options = std::make_shared<ConvertCommand>();
  add_recipe_options(*command, options->recipe);
  command
      ->add_option("--teacher", options->recipe.source.teacher,
                   "model folder or GGUF file of the Transformer (Qwen3, Qwen2, Llama)")
      ->excludes("--resume");
  command->add_option("--until", options->until, "stop after this step: " + step_names());
  command->add_option("--from", options->from,
                      "remove what this step and later ones made, and make it anew");
  command->footer(kExample);
  command->callback([options] { run(*options); });
}

}  // namespace hypenet
