// hypenet compare: how far two models are from each other along the context.
#include "engine/compare.h"

#include <fmt/format.h>

#include <cmath>
#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/length_warning.h"
#include "cli/model_folder.h"
#include "cli/note.h"
#include "cli/numbers.h"
#include "cli/outputs.h"
#include "cli/progress.h"
#include "data/held_out.h"
#include "eval/measures.h"
#include "eval/model_report.h"

namespace hypenet {
namespace {

namespace fs = std::filesystem;

struct CompareCommand {
  ModelOptions a{.folder = {}, .type = kAutomaticType, .device = {}};
  fs::path b;
  std::optional<LogitsScaling> scaling_b;  // nullopt: as config.json says
  std::vector<std::string> text;
  std::string text_field = "text";
  int64_t context = 1024, windows = 16;
  std::optional<fs::path> plot, json;
};

/// The names of the folders, or their paths where those are the same.
std::pair<std::string, std::string> names_of(const CompareCommand& command) {
  const std::string a = model_name(command.a.folder), b = model_name(command.b);
  if (a != b) return {a, b};
  return {command.a.folder.string(), command.b.string()};
}

std::vector<std::vector<int32_t>> windows_of(const CompareCommand& command) {
  const Tokenizer tokenizer = Tokenizer::load(command.a.folder);
  const std::vector<int32_t> text =
      read_held_out(command.text, command.text_field, tokenizer, print_note);
  std::vector<ScoredRow> rows = text_rows(text, command.context, command.windows);
  std::vector<std::vector<int32_t>> windows;
  windows.reserve(rows.size());
  for (ScoredRow& row : rows) windows.push_back(std::move(row.ids));
  return windows;
}

/// Ids mean the same in both models.
void check_tokenizers(const CompareCommand& command, const std::vector<int32_t>& ids) {
  const Tokenizer a = Tokenizer::load(command.a.folder), b = Tokenizer::load(command.b);
  HYPENET_CHECK(a.vocab_size() == b.vocab_size(), command.b.string(),
                ": tokenizer.json: expected the first model's ", a.vocab_size(), " tokens, found ",
                b.vocab_size());
  HYPENET_CHECK(a.decode(ids) == b.decode(ids), command.b.string(),
                ": tokenizer.json: expected the first model's tokens, found others");
}

std::string tokens_of(const ComparisonBucket& bucket) {
  return fmt::format("{} to {}", with_commas(bucket.first), with_commas(bucket.last));
}

std::vector<std::string> row_of(const std::string& tokens, const PositionComparison& mean) {
  return {tokens, fmt::format("{:.4f}", mean.divergence), fmt::format("{:.4f}", mean.agreement),
          fmt::format("{:.3f}", std::exp(mean.loss_a)),
          fmt::format("{:.3f}", std::exp(mean.loss_b))};
}

Table table_of(const std::vector<PositionComparison>& positions) {
  Table table{{"tokens before", "KL(A || B)", "same first choice", "perplexity A", "perplexity B"},
              {}};
  for (const ComparisonBucket& bucket : comparison_buckets(positions, 1)) {
    table.rows.push_back(row_of(tokens_of(bucket), bucket.mean));
  }
  const auto length = static_cast<int64_t>(positions.size());
  table.rows.push_back(row_of("all", mean_comparison(positions, 1, length)));
  return table;
}

std::vector<Chart> charts_of(const CompareCommand& command,
                             const std::vector<PositionComparison>& positions) {
  const auto [a, b] = names_of(command);
  std::vector<Chart> charts =
      comparison_charts({{.name = b, .teacher = a, .positions = positions}});
  charts[0].title = fmt::format("KL({} || {}) along the context", a, b);
  return charts;
}

Json json_of(const CompareCommand& command, const ModelConfig& a, const ModelConfig& b,
             size_t windows, const std::vector<PositionComparison>& positions) {
  Json buckets = Json::array();
  for (const ComparisonBucket& bucket : comparison_buckets(positions, 1)) {
    buckets.push_back({{"first", bucket.first},
                       {"last", bucket.last},
                       {"kl", bucket.mean.divergence},
                       {"agreement", bucket.mean.agreement},
                       {"perplexity_a", std::exp(bucket.mean.loss_a)},
                       {"perplexity_b", std::exp(bucket.mean.loss_b)}});
  }
  Json by_position;
  for (const auto& [name, value] : kPositionMeasures) {
    for (const PositionComparison& position : positions) {
      by_position[name].push_back(position.*value);
    }
  }
  return {{"a", command.a.folder.string()},
          {"b", command.b.string()},
          {"attn_logits_scaling_a", to_json(a.attn_logits_scaling)},
          {"attn_logits_scaling_b", to_json(b.attn_logits_scaling)},
          {"text", command.text},
          {"context", positions.size()},
          {"windows", windows},
          {"buckets", buckets},
          {"positions", by_position}};
}

std::vector<Output> outputs_of(const CompareCommand& command) {
  return {{"--plot", command.plot}, {"--json", command.json}};
}

void check(const CompareCommand& command) {
  constexpr int64_t kMostTokens = int64_t{1} << 24, kMostWindows = 1'000'000;
  HYPENET_CHECK(command.context >= 1 && command.context <= kMostTokens, "--context: expected 1 to ",
                kMostTokens, ", found ", command.context);
  HYPENET_CHECK(command.windows >= 1 && command.windows <= kMostWindows,
                "--windows: expected 1 to ", kMostWindows, ", found ", command.windows);
  parse_device(command.a.device.device);
  parse_type_or_auto(command.a.type);
  check_outputs(outputs_of(command), {command.text.begin(), command.text.end()});
}

void run_compare(const CompareCommand& command) {
  check(command);
  const Checkpoint of_a(command.a.folder), of_b(command.b);
  const auto windows = windows_of(command);
  check_tokenizers(command, windows.front());
  const ModelConfig config_b = parse_model_config(of_b.config(), of_b.config_place(), of_b.names());
  warn_of_length("--context, " + command.a.folder.string(), command.context,
                 open_config(command.a, of_a));
  warn_of_length("--context, " + command.b.string(), command.context, config_b);
  CausalLm a = open_model(command.a, of_a);
  ModelOptions options = command.a;
  options.folder = command.b;
  options.attn_logits_scaling = command.scaling_b;
  CausalLm b = open_model(options, of_b);
  Progress progress;
  const auto report = [&](int64_t done) {
    throw_if_interrupted();
    progress.show(fmt::format("compare: {} of {} windows", done, windows.size()));
  };
  report(0);
  const auto positions = compare_models(a, b, windows, report);
  progress.finish(fmt::format("compare: {} windows of {} tokens", windows.size(),
                              with_commas(static_cast<int64_t>(positions.size()))));
  const auto [name_a, name_b] = names_of(command);
  std::cout << "A: " << name_a << "\nB: " << name_b << "\n\n" << format_table(table_of(positions));
  if (command.plot) write_file(*command.plot, draw_svg(charts_of(command, positions)));
  if (command.json) {
    write_json(*command.json,
               json_of(command, a->config(), b->config(), windows.size(), positions));
  }
  tell_written("compare", outputs_of(command));
}

}  // namespace

void add_compare_command(CLI::App& app) {
  const auto options = std::make_shared<CompareCommand>();
  CLI::App* command =
      app.add_subcommand("compare", "how far two models are from each other, along the context");
  command->add_option("DIR_A", options->a.folder, "model folder or GGUF file: the teacher")
      ->required();
  command->add_option("DIR_B", options->b, "model folder or GGUF file: the student")->required();
  command->add_option("--text", options->text, "held-out text: files, folders, or token shards")
      ->required();
  command->add_option("--text-field", options->text_field, "JSON field or Parquet column")
      ->capture_default_str();
  command->add_option("--context", options->context, "tokens of a window")->capture_default_str();
  command->add_option("--windows", options->windows, "windows, spread over the text")
      ->capture_default_str();
  command->add_option("--plot", options->plot, "SVG file to write");
  command->add_option("--json", options->json, "file to write: buckets, and each position");
  add_type_option(*command, options->a);
  add_logits_scaling_option(*command, "of DIR_B, ", options->scaling_b);
  command->footer(
      "Example:\n  hypenet compare teacher out/tiny/model --text valid.jsonl "
      "--context 4096 --plot compare.svg");
  command->callback([options] { run_compare(*options); });
}

}  // namespace hypenet
