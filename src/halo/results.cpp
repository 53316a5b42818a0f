// Table and report of a conversion.
#include "halo/results.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/files.h"
#include "eval/model_report.h"

namespace hypenet {
namespace fs = std::filesystem;
namespace {

std::string ratio(double value, double of) {
  return of > 0 ? fmt::format("{:.3f}", value / of) : "-";
}

/// The share of a teacher that recalls next to nothing is no measure.
std::string recall_ratio(const RecallPoint& student, const RecallPoint& teacher) {
  constexpr double kLeast = 0.1;
  return teacher.share >= kLeast ? ratio(student.share, teacher.share) : "-";
}

std::string share(const RecallPoint& point) {
  return fmt::format("{:.2f} ± {:.2f}", point.share, point.error);
}

double bytes_per_token(const CacheBytes& cache) {
  return static_cast<double>(cache.bytes) / static_cast<double>(cache.context);
}

/// One chart a stage: its loss over steps, as metrics.jsonl has it.
std::vector<Chart> stage_charts(const fs::path& metrics) {
  if (!fs::exists(metrics) || fs::is_empty(metrics)) return {};
  std::vector<TrainingCurve> curves = read_training("", metrics.string(), read_file(metrics));
  for (TrainingCurve& curve : curves) curve.name = curve.stage;
  return loss_charts(curves);
}

/// What the choice of layers went by: importances, and what pilots reached. Nothing for layers that
/// were chosen without scores.
std::vector<ReportPart> selection_parts(const HaloRecipe& recipe, const ConversionRecord& record,
                                        const fs::path& folder) {
  std::vector<ReportPart> parts;
  if (recipe.select.layers || !fs::exists(folder / "scores.csv")) return parts;
  const LayerScores scores = read_scores(folder / "scores.csv");
  const auto importances =
      layer_importances(scores, parse_selection_rule(recipe.select.rule), recipe.select.keep);
  Chart chart{.title = "Layer importance (rule " + recipe.select.rule +
                       "); attention stays in the marked layers",
              .x_label = "layer",
              .y_label = "importance",
              .kind = ChartKind::kBars,
              .series = {{"importance", {}, {}}},
              .highlighted = record.attention_layers};
  for (size_t i = 0; i < importances.size(); ++i) {
    chart.series.front().x.push_back(static_cast<double>(i));
    chart.series.front().y.push_back(importances[i]);
    chart.bar_labels.push_back(std::to_string(i));
  }
  parts.emplace_back(std::move(chart));
  if (!scores.pilots.empty()) parts.emplace_back(pilots_table(scores.pilots));
  return parts;
}

/// "gdn in the others", or "gdn in layers [0,3], kda in layers [1]".
std::string recurrent_layers(const ConversionRecord& record) {
  std::map<std::string_view, std::vector<int64_t>> layers;
  for (size_t i = 0; i < record.mixer_types.size(); ++i) {
    const MixerKind& kind = *record.mixer_types[i];
    if (kind.is_recurrent) layers[kind.name].push_back(static_cast<int64_t>(i));
  }
  std::string text;
  for (const auto& [mixer, own] : layers) {
    text += concat(", ", mixer, " in ",
                   layers.size() == 1 ? "the others" : concat("layers ", Json(own).dump()));
  }
  return text;
}

Series recall_series(const std::string& name, const Evaluation& evaluation) {
  Series series{name, {}, {}};
  for (const auto& point : evaluation.recall) {
    series.x.push_back(static_cast<double>(point.context));
    series.y.push_back(point.share);
  }
  return series;
}

Series cache_series(const std::string& name, const Evaluation& evaluation) {
  Series series{name, {}, {}};
  for (const auto& cache : evaluation.cache) {
    series.x.push_back(static_cast<double>(cache.context));
    series.y.push_back(static_cast<double>(cache.bytes));
  }
  return series;
}

}  // namespace

Table pilots_table(const std::vector<PilotResult>& pilots) {
  Table table{{"pilot", "layers", "recall", "KL to the teacher"}, {}};
  for (const PilotResult& pilot : pilots) {
    table.rows.push_back({pilot.rules, Json(pilot.layers).dump(),
                          fmt::format("{:.3f} ± {:.3f}", pilot.recall, pilot.recall_error),
                          fmt::format("{:.4f}", pilot.kl)});
  }
  return table;
}

Table selection_table(const LayerScores& scores, SelectionRule rule, int64_t keep) {
  const auto importances = layer_importances(scores, rule, keep);
  const auto selected = select_layers(scores, rule, keep);
  const auto mean = [&](const std::vector<double>& row, Evidence evidence) {
    return scores.has(evidence) ? fmt::format("{:.4f}", scores.mean(row, evidence)) : "-";
  };
  Table table{{"layer", "R (recall)", "C (reasoning)", "importance", "selected"}, {}};
  const auto add = [&](const std::string& name, const std::vector<double>& row,
                       const std::string& importance, bool is_selected) {
    table.rows.push_back({name, mean(row, Evidence::kRecall), mean(row, Evidence::kReasoning),
                          importance, is_selected ? "yes" : ""});
  };
  add("original", scores.original, "", false);
  for (size_t i = 0; i < scores.layers.size(); ++i) {
    add(std::to_string(i), scores.layers[i], fmt::format("{:.4f}", importances[i]),
        std::binary_search(selected.begin(), selected.end(), static_cast<int64_t>(i)));
  }
  return table;
}

Table conversion_table(const ConversionRecord& record) {
  const Evaluation& teacher = record.teacher;
  const Evaluation& student = record.hypenet;
  Table table{{"", "teacher", "HypeNet", "HypeNet / teacher"}, {}};
  table.rows.push_back({fmt::format("held-out perplexity, windows of {}", teacher.context),
                        fmt::format("{:.2f}", teacher.perplexity),
                        fmt::format("{:.2f}", student.perplexity),
                        ratio(student.perplexity, teacher.perplexity)});
  for (size_t i = 0; i < teacher.recall.size(); ++i) {
    table.rows.push_back({fmt::format("recall at {} tokens", teacher.recall[i].context),
                          share(teacher.recall[i]), share(student.recall[i]),
                          recall_ratio(student.recall[i], teacher.recall[i])});
  }
  for (size_t i = 0; i < teacher.cache.size(); ++i) {
    const double before = bytes_per_token(teacher.cache[i]),
                 after = bytes_per_token(student.cache[i]);
    table.rows.push_back({fmt::format("cache bytes a token at {} tokens", teacher.cache[i].context),
                          fmt::format("{:.0f}", before), fmt::format("{:.0f}", after),
                          ratio(after, before)});
  }
  return table;
}

Report conversion_report(const HaloRecipe& recipe, const ConversionRecord& record,
                         const fs::path& out) {
  Report report;
  report.title = "HypeNet from " + fs::path(recipe.teacher).filename().string();
  report.subtitle = concat("recipe ", recipe.name, ", attention in layers ",
                           Json(record.attention_layers).dump(), recurrent_layers(record));
  report.parts.emplace_back(conversion_table(record));
  report.parts.emplace_back(Chart{.title = "Recall over context length",
                                  .x_label = "context, tokens",
                                  .y_label = "exact answers, share",
                                  .log_x = true,
                                  .series = {recall_series("teacher", record.teacher),
                                             recall_series("HypeNet", record.hypenet)}});
  report.parts.emplace_back(Chart{.title = "Cache and states of one sequence",
                                  .x_label = "context, tokens",
                                  .y_label = "bytes",
                                  .log_x = true,
                                  .log_y = true,
                                  .series = {cache_series("teacher", record.teacher),
                                             cache_series("HypeNet", record.hypenet)}});
  for (auto& part : selection_parts(recipe, record, out / "3-select"))
    report.parts.emplace_back(std::move(part));
  for (auto& chart : stage_charts(out / "metrics.jsonl"))
    report.parts.emplace_back(std::move(chart));
  return report;
}

}  // namespace hypenet
