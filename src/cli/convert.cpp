// hypenet convert: a Transformer becomes a HypeNet.
#include <iostream>
#include <memory>

#include "cli/commands.h"
#include "cli/recipe_options.h"
#include "halo/pipeline.h"

namespace hypenet {
namespace {

constexpr const char* kExample = R"(Example:
  hypenet convert --recipe recipes/tiny.json
  hypenet convert --recipe recipes/hypenet-2b.json --teacher Qwen3-1.7B --data fineweb-edu/ --out out/hypenet-2b

Ctrl-C saves and stops; the same command goes on from there.)";

void run(const RecipeOptions& options) {
  const HaloRecipe recipe = read_halo_recipe(options.source);
  RunProgress progress;
  const RunOptions run = run_options(options, progress);
  const ConversionResult result = convert(recipe, run);
  std::cout << format_table(result.table) << "\nmodel:  " << result.model.string()
            << "\nreport: " << result.report.string() << '\n';
}

}  // namespace

void add_convert_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("convert", "turn a Transformer into a HypeNet by HALO");
  const auto options = std::make_shared<RecipeOptions>();
  add_recipe_options(*command, *options);
  command->add_option("--teacher", options->source.teacher,
                      "model folder of the Transformer (Qwen3, Qwen2, Llama)");
  command->footer(kExample);
  command->callback([options] { run(*options); });
}

}  // namespace hypenet
