// The page of several models, and its sections on positions, decoding and training.
#include "eval/model_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "eval/axis.h"

namespace hypenet {
namespace {

/// A column of a table by position, or a line of a chart over positions.
struct PositionLine {
  std::string name;
  const ModelComparison* of = nullptr;
  double (*value)(const PositionComparison&) = nullptr;
};

double divergence(const PositionComparison& mean) { return mean.divergence; }
double agreement(const PositionComparison& mean) { return mean.agreement; }
double perplexity_a(const PositionComparison& mean) { return std::exp(mean.loss_a); }
double perplexity_b(const PositionComparison& mean) { return std::exp(mean.loss_b); }

bool has_same_teacher(const ModelComparison& a, const ModelComparison& b) {
  return a.teacher == b.teacher &&
         std::ranges::equal(a.positions, b.positions, {}, &PositionComparison::loss_a,
                            &PositionComparison::loss_a);
}

/// Whether all were compared with one teacher on the same text.
bool have_one_teacher(const std::vector<ModelComparison>& comparisons) {
  return std::ranges::all_of(comparisons, [&](const ModelComparison& comparison) {
    return has_same_teacher(comparison, comparisons.front());
  });
}

/// The teacher once where all have the same, else beside each.
std::vector<PositionLine> perplexities(const std::vector<ModelComparison>& comparisons) {
  const bool is_one = have_one_teacher(comparisons);
  std::vector<PositionLine> lines;
  if (is_one) lines.push_back({comparisons[0].teacher, comparisons.data(), perplexity_a});
  for (const ModelComparison& comparison : comparisons) {
    if (!is_one) {
      lines.push_back(
          {concat(comparison.teacher, ", beside ", comparison.name), &comparison, perplexity_a});
    }
    lines.push_back({comparison.name, &comparison, perplexity_b});
  }
  return lines;
}

std::vector<PositionLine> lines_of(const std::vector<ModelComparison>& comparisons,
                                   double (*value)(const PositionComparison&)) {
  std::vector<PositionLine> lines;
  lines.reserve(comparisons.size());
  for (const auto& comparison : comparisons) lines.push_back({comparison.name, &comparison, value});
  return lines;
}

Table position_table(const std::vector<PositionLine>& lines, const char* digits) {
  Table table{{"tokens before"}, {}};
  std::map<std::pair<int64_t, int64_t>, std::vector<std::string>> rows;
  std::vector<std::string> means = {"all"};
  const auto cell = [&](double value) { return fmt::format(fmt::runtime(digits), value); };
  for (size_t i = 0; i < lines.size(); ++i) {
    const auto& [name, comparison, value] = lines[i];
    table.header.push_back(name);
    for (const ComparisonBucket& bucket : comparison_buckets(comparison->positions, 1)) {
      auto& row = rows[{bucket.first, bucket.last}];
      row.resize(lines.size() + 1);
      row[0] = fmt::format("{} to {}", bucket.first, bucket.last);
      row[i + 1] = cell(value(bucket.mean));
    }
    const auto length = static_cast<int64_t>(comparison->positions.size());
    means.push_back(cell(value(mean_comparison(comparison->positions, 1, length))));
  }
  for (auto& [bucket, row] : rows) table.rows.push_back(std::move(row));
  table.rows.push_back(std::move(means));
  return table;
}

Chart position_chart(Chart frame, const std::vector<PositionLine>& lines) {
  frame.x_label = "tokens before";
  frame.log_x = true;
  for (const auto& [name, comparison, value] : lines) {
    Series series{name, {}, {}};
    for (const ComparisonBucket& bucket : comparison_buckets(comparison->positions, 4)) {
      series.x.push_back(static_cast<double>(bucket.last));
      series.y.push_back(value(bucket.mean));
    }
    frame.series.push_back(std::move(series));
  }
  return frame;
}

/// A row a context, a column a shape; `value` may find nothing.
struct SpeedGrid {
  std::vector<std::string> shapes = {};
  std::set<int64_t> contexts = {};
  std::map<std::pair<std::string, int64_t>, double> values = {};
};

SpeedGrid speed_grid(const std::vector<DecodeSpeed>& speeds,
                     std::optional<double> (*value)(const DecodeSpeed&)) {
  SpeedGrid grid;
  for (const DecodeSpeed& speed : speeds) {
    const auto found = value(speed);
    if (!found) continue;
    if (std::ranges::find(grid.shapes, speed.shape) == grid.shapes.end()) {
      grid.shapes.push_back(speed.shape);
    }
    grid.contexts.insert(speed.context);
    grid.values[{speed.shape, speed.context}] = *found;
  }
  return grid;
}

Table speed_table(const SpeedGrid& grid, const std::string& what, const char* digits, double unit) {
  Table table{{what}, {}};
  for (const std::string& shape : grid.shapes) table.header.push_back(shape);
  for (const int64_t context : grid.contexts) {
    std::vector<std::string> row = {token_label(context)};
    for (const std::string& shape : grid.shapes) {
      const auto found = grid.values.find({shape, context});
      row.push_back(found == grid.values.end()
                        ? ""
                        : fmt::format(fmt::runtime(digits), found->second / unit));
    }
    table.rows.push_back(std::move(row));
  }
  return table;
}

Chart speed_chart(const SpeedGrid& grid, const std::string& title, const std::string& y_label) {
  Chart chart{.title = title,
              .x_label = "context, tokens",
              .y_label = y_label,
              .log_x = true,
              .log_y = true};
  for (const std::string& shape : grid.shapes) {
    Series series{shape, {}, {}};
    for (const int64_t context : grid.contexts) {
      const auto found = grid.values.find({shape, context});
      if (found == grid.values.end()) continue;
      series.x.push_back(static_cast<double>(context));
      series.y.push_back(found->second);
    }
    chart.series.push_back(std::move(series));
  }
  return chart;
}

/// What a speed table is in the units of.
constexpr double kMebibyte = 1 << 20;

/// Which files and settings the columns are of.
std::vector<ReportPart> origin_section(const std::vector<ModelResults>& models) {
  Table table{{"model", "folder", "type", "attn_logits_scaling", "source commit"}, {}};
  for (const ModelResults& model : models) {
    for (const ResultOrigin& origin : model.origins) {
      constexpr size_t kCommitDigits = 10;
      table.rows.push_back({model.name, origin.folder, origin.type, origin.attn_logits_scaling,
                            origin.commit.substr(0, kCommitDigits)});
    }
  }
  if (table.rows.empty()) return {};
  return {Heading{"What was measured"}, std::move(table)};
}

void append(Report& report, std::vector<ReportPart> parts) {
  std::ranges::move(parts, std::back_inserter(report.parts));
}

}  // namespace

std::vector<ReportPart> comparison_section(const std::vector<ModelComparison>& comparisons) {
  if (comparisons.empty()) return {};
  const auto kl = lines_of(comparisons, divergence), same = lines_of(comparisons, agreement);
  const auto loss = perplexities(comparisons);
  Chart distance{.title = "KL along the context", .y_label = "nats a token"};
  Chart choice{.title = "Same first choice", .y_label = "share of tokens"};
  if (have_one_teacher(comparisons)) {
    // Its place among the colours: each model has one colour in all charts.
    distance.series = choice.series = {Series{comparisons.front().teacher, {}, {}}};
  }
  return {Heading{"Along the context"},
          std::string("KL of the first model's next tokens from each model's, nats a token:"),
          position_table(kl, "{:.4f}"),
          position_chart(std::move(distance), kl),
          std::string("Share of tokens for which both models have the same first choice:"),
          position_table(same, "{:.4f}"),
          position_chart(std::move(choice), same),
          std::string("Perplexity on the same text:"),
          position_table(loss, "{:.3f}"),
          position_chart({.title = "Perplexity along the context"}, loss)};
}

std::vector<ReportPart> decode_section(const std::vector<DecodeSpeed>& speeds) {
  if (speeds.empty()) return {};
  const SpeedGrid ms =
      speed_grid(speeds, [](const DecodeSpeed& speed) { return std::optional<double>(speed.ms); });
  const SpeedGrid bytes =
      speed_grid(speeds, [](const DecodeSpeed& speed) { return speed.cache_bytes; });
  std::vector<ReportPart> parts = {Heading{"Decode"},
                                   speed_table(ms, "context; milliseconds a token", "{:.3f}", 1),
                                   speed_chart(ms, "Decode: milliseconds a token", "ms")};
  if (bytes.values.empty()) return parts;
  parts.emplace_back(
      speed_table(bytes, "context; cache and states of one sequence, MiB", "{:.1f}", kMebibyte));
  parts.emplace_back(speed_chart(bytes, "Cache and states of one sequence", "bytes"));
  return parts;
}

std::vector<ReportPart> training_section(const std::vector<TrainingCurve>& curves) {
  if (curves.empty()) return {};
  Table table{{"run", "stage", "steps", "of", "first loss", "last loss", "tokens/s"}, {}};
  std::vector<Chart> charts;
  for (const TrainingCurve& curve : curves) {
    table.rows.push_back({curve.name, curve.stage, fmt::format("{:.0f}", curve.step.back()),
                          std::to_string(curve.steps), fmt::format("{:.4f}", curve.loss.front()),
                          fmt::format("{:.4f}", curve.loss.back()),
                          fmt::format("{:.0f}", curve.tokens_per_second)});
    const std::string title = "Loss of " + curve.stage;
    auto chart = std::ranges::find(charts, title, &Chart::title);
    if (chart == charts.end()) {
      charts.push_back({.title = title, .x_label = "step", .y_label = "loss", .log_y = true});
      chart = std::prev(charts.end());
    }
    chart->series.push_back({curve.name, curve.step, curve.loss});
  }
  std::vector<ReportPart> parts = {Heading{"Training"}, std::move(table)};
  std::ranges::move(charts, std::back_inserter(parts));
  return parts;
}

Report model_report(const std::string& title, const ModelReportData& data) {
  Report report{.title = title};
  for (const ModelResults& model : data.models) {
    report.subtitle += concat(report.subtitle.empty() ? "" : ", ", model.name);
  }
  append(report, task_section(data.models));
  append(report, length_section(data.models));
  append(report, grid_section(data.models));
  append(report, comparison_section(data.comparisons));
  append(report, decode_section(data.speeds));
  append(report, training_section(data.curves));
  append(report, origin_section(data.models));
  return report;
}

}  // namespace hypenet
