// hypenet select: from a sweep's scores to the layers that stay attention.
#include "halo/select.h"

#include <filesystem>
#include <iostream>
#include <memory>
#include <string>

#include "base/json.h"
#include "cli/commands.h"
#include "cli/note.h"
#include "halo/results.h"
#include "report/table.h"

namespace hypenet {
namespace {

struct SelectOptions {
  std::filesystem::path scores;
  std::string rule = "halo";
  int64_t keep = 0;
  bool has_table = false;
};

void select(const SelectOptions& options) {
  const SelectionRule rule = parse_selection_rule(options.rule);
  const LayerScores scores = read_scores(options.scores);
  const std::vector<int64_t> selected = select_layers(scores, rule, options.keep);
  if (scores.has(Evidence::kRecall) && scores.recall(scores.original) == 0) {
    print_note(concat("warning: ", options.scores.string(),
                      ": recall: expected what the original model recalls, found 0 for all of it: ",
                      "rules that read it choose by chance (sweep at a --context that it holds)"));
  }
  if (options.has_table) {
    if (rule == SelectionRule::kPilot)
      std::cout << format_table(pilots_table(scores.pilots)) << '\n';
    std::cout << format_table(selection_table(scores, rule, options.keep)) << '\n';
  }
  std::cout << Json(selected).dump() << '\n';
}

std::string rules_help() {
  std::string help = "Rules:\n";
  for (const RuleAbout& rule : selection_rules()) {
    help += concat("  ", rule.name, std::string(13 - rule.name.size(), ' '), rule.about, "\n");
  }
  return help;
}

}  // namespace

void add_select_command(CLI::App& app) {
  const auto options = std::make_shared<SelectOptions>();
  CLI::App* command = app.add_subcommand("select", "choose the layers that stay attention");
  command->add_option("--scores", options->scores, "scores.csv of a sweep")->required();
  command->add_option("--rule", options->rule, selection_rule_names())->capture_default_str();
  command->add_option("--keep", options->keep, "how many layers (0: a quarter)")
      ->capture_default_str();
  command->add_flag("--table", options->has_table, "print scores and importances first");
  command->footer(rules_help() +
                  "\nExample:\n  hypenet select --scores out/tiny/3-select/scores.csv --table");
  command->callback([options] { select(*options); });
}

}  // namespace hypenet
