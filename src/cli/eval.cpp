// hypenet eval: perplexity, next-token accuracy and recall on held-out text.
#include <fmt/format.h>

#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/model_folder.h"
#include "cli/numbers.h"
#include "cli/progress.h"
#include "engine/engine.h"
#include "eval/report.h"
#include "halo/evaluate.h"
#include "halo/run.h"

namespace hypenet {
namespace {

struct EvalCommand {
  ModelOptions model;
  std::string data;
  std::string text_field = "text";
  EvaluateConfig config{.contexts = {256, 512, 1024, 2048}};
  uint64_t seed = 0;
  std::optional<std::filesystem::path> json;
};

void check(const EvaluateConfig& config) {
  HYPENET_CHECK(config.context > 0, "--context: expected at least 1, found ", config.context);
  HYPENET_CHECK(config.windows > 0, "--windows: expected at least 1, found ", config.windows);
  HYPENET_CHECK(config.prompts > 0, "--prompts: expected at least 1, found ", config.prompts);
  HYPENET_CHECK(config.needles >= 1 && config.needles <= 8, "--needles: expected 1 to 8, found ",
                config.needles);
  for (const int64_t context : config.contexts) {
    HYPENET_CHECK(context > 0, "--contexts: expected lengths of at least 1, found ", context);
  }
}

void print(const Evaluation& result, const EvaluateConfig& config) {
  std::cout << fmt::format("perplexity {:.3f}, next-token accuracy {:.4f} (context {})\n\n",
                           result.perplexity, result.next_token_accuracy, result.context);
  Table table{{"context", "recall", "standard error", "cache"}, {}};
  for (size_t i = 0; i < result.recall.size(); ++i) {
    const RecallPoint& point = result.recall[i];
    table.rows.push_back({readable_tokens(point.context), fmt::format("{:.3f}", point.share),
                          fmt::format("{:.3f}", point.error),
                          readable_bytes(result.cache[i].bytes)});
  }
  std::cout << fmt::format("recall of 1 of {} facts, {} prompts a context:\n", config.needles,
                           config.prompts)
            << format_table(table);
}

void run_eval(const EvalCommand& command) {
  check(command.config);
  const Checkpoint checkpoint(command.model.folder);
  Engine engine(open_model(command.model, checkpoint));
  const Tokenizer tokenizer = open_tokenizer(command.model.folder, engine.config());
  const std::vector<int32_t> text = read_held_out({command.data}, command.text_field, tokenizer);
  Progress progress;
  progress.show(
      fmt::format("eval: {} tokens of text", with_commas(static_cast<int64_t>(text.size()))));
  const auto report = [&](int64_t done, int64_t total) {
    throw_if_interrupted();
    if (done < total) progress.show(fmt::format("eval: {} of {} measures done", done, total));
  };
  const Evaluation result = evaluate(engine, tokenizer, text, command.config, command.seed, report);
  progress.finish("eval: done");
  print(result, command.config);
  if (command.json) write_json(*command.json, write_fields(result));
}

}  // namespace

void add_eval_command(CLI::App& app) {
  const auto options = std::make_shared<EvalCommand>();
  EvaluateConfig& config = options->config;
  CLI::App* command = app.add_subcommand("eval", "measure perplexity and recall on held-out text");
  add_model_options(*command, options->model);
  command->add_option("--data", options->data, "held-out text, or a folder of token shards")
      ->required();
  command->add_option("--text-field", options->text_field, "JSON field or Parquet column")
      ->capture_default_str();
  command->add_option("--context", config.context, "tokens of a window for perplexity")
      ->capture_default_str();
  command->add_option("--windows", config.windows, "windows for perplexity")->capture_default_str();
  command->add_option("--contexts", config.contexts, "lengths of recall prompts: 256,512")
      ->delimiter(',')
      ->capture_default_str();
  command->add_option("--needles", config.needles, "facts hidden in a recall prompt, 1 to 8")
      ->capture_default_str();
  command->add_option("--prompts", config.prompts, "recall prompts a length")
      ->capture_default_str();
  command->add_option("--seed", options->seed, "of keys, digits and places")->capture_default_str();
  command->add_option("--json", options->json, "also write the measures to this file");
  command->footer(
      "Example:\n  hypenet eval out/tiny/model --data valid.jsonl --contexts 256,1024,4096");
  command->callback([options] { run_eval(*options); });
}

}  // namespace hypenet
