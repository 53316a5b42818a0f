// hypenet select: from a sweep's scores to the layers that stay attention.
#include "halo/select.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <memory>
#include <string>

#include "base/json.h"
#include "cli/commands.h"
#include "eval/report.h"

namespace hypenet {
namespace {

struct SelectOptions {
  std::filesystem::path scores;
  std::string rule = "halo";
  int64_t keep = 0;
  bool has_table = false;
};

Table selection_table(const LayerScores& scores, const std::vector<double>& importances,
                      const std::vector<int64_t>& selected) {
  Table table{{"layer", "R (recall)", "C (reasoning)", "importance", "selected"}, {}};
  const auto number = [](double value) { return fmt::format("{:.4f}", value); };
  table.rows.push_back({"original", number(scores.recall(scores.original)),
                        number(scores.reasoning(scores.original)), "", ""});
  for (size_t i = 0; i < scores.layers.size(); ++i) {
    const bool is_selected =
        std::binary_search(selected.begin(), selected.end(), static_cast<int64_t>(i));
    table.rows.push_back({std::to_string(i), number(scores.recall(scores.layers[i])),
                          number(scores.reasoning(scores.layers[i])), number(importances[i]),
                          is_selected ? "yes" : ""});
  }
  return table;
}

void select(const SelectOptions& options) {
  const SelectionRule rule = parse_selection_rule(options.rule);
  const LayerScores scores = read_scores(options.scores);
  const std::vector<int64_t> selected = select_layers(scores, rule, options.keep);
  if (options.has_table) {
    const auto importances = layer_importances(scores, rule, options.keep);
    std::cout << format_table(selection_table(scores, importances, selected)) << '\n';
  }
  std::cout << Json(selected).dump() << '\n';
}

}  // namespace

void add_select_command(CLI::App& app) {
  const auto options = std::make_shared<SelectOptions>();
  CLI::App* command = app.add_subcommand("select", "choose the layers that stay attention");
  command->add_option("--scores", options->scores, "scores.csv of a sweep")->required();
  command->add_option("--rule", options->rule, "halo, recall-drop or uniform")
      ->capture_default_str();
  command->add_option("--keep", options->keep, "how many layers (0: a quarter)")
      ->capture_default_str();
  command->add_flag("--table", options->has_table, "print scores and importances first");
  command->footer("Example:\n  hypenet select --scores out/tiny/3-select/scores.csv --table");
  command->callback([options] { select(*options); });
}

}  // namespace hypenet
