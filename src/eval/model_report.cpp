// The page of several models, and its sections on positions, decoding and training.
#include "eval/model_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "base/join.h"
#include "eval/report_sections.h"
#include "report/axis.h"

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

/// A row a range of positions; below, the means over all that comparisons of one length share.
Table position_table(const std::vector<PositionLine>& lines, const char* digits) {
  Table table{{"tokens before"}, {}};
  std::map<std::pair<int64_t, int64_t>, std::vector<std::string>> rows;
  std::set<int64_t> lengths;
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
    lengths.insert(static_cast<int64_t>(comparison->positions.size()));
  }
  for (auto& [bucket, row] : rows) table.rows.push_back(std::move(row));
  for (const int64_t length : lengths) {
    std::vector<std::string>& row = table.rows.emplace_back();
    row.push_back(lengths.size() == 1 ? "all" : fmt::format("1 to {}", length));
    for (const auto& [name, comparison, value] : lines) {
      const auto& positions = comparison->positions;
      const bool is_long_enough = static_cast<int64_t>(positions.size()) >= length;
      row.push_back(is_long_enough ? cell(value(mean_comparison(positions, 1, length))) : "");
    }
  }
  return table;
}

Chart position_chart(Chart frame, const std::vector<PositionLine>& lines) {
  frame.x_label = "tokens before";
  frame.log_x = true;
  for (const auto& [name, comparison, value] : lines) {
    std::map<int64_t, double> points;
    for (const ComparisonBucket& bucket : comparison_buckets(comparison->positions, 4)) {
      points[bucket.last] = value(bucket.mean);
    }
    frame.series.push_back(series_of(name, points));
  }
  return frame;
}

/// A shape's values by context.
struct SpeedLine {
  std::string shape = {};
  std::map<int64_t, double> values = {};
};

/// A value in a table and a chart, of which a column and a line are a shape.
ReportParts speed_parts(const std::vector<DecodeSpeed>& speeds, double DecodeSpeed::*value,
                        std::string (*cell)(double), const std::string& corner, Chart chart) {
  std::vector<SpeedLine> lines;
  std::map<int64_t, std::vector<std::string>> rows;
  for (const DecodeSpeed& speed : speeds) {
    entry(lines, &SpeedLine::shape, speed.shape).values[speed.context] = speed.*value;
    rows[speed.context] = {token_label(speed.context)};
  }
  Table table{{corner}, {}};
  for (const auto& [shape, values] : lines) {
    table.header.push_back(shape);
    for (auto& [context, row] : rows) {
      row.push_back(values.contains(context) ? cell(values.at(context)) : "");
    }
    chart.series.push_back(series_of(shape, values));
  }
  for (auto& [context, row] : rows) table.rows.push_back(std::move(row));
  chart.x_label = "context, tokens";
  chart.log_x = chart.log_y = true;
  return {std::move(table), std::move(chart)};
}

std::string milliseconds(double ms) { return fmt::format("{:.3f}", ms); }
std::string mebibytes(double bytes) { return fmt::format("{:.1f}", bytes / (1 << 20)); }

Table origin_table(const std::vector<ModelResults>& models) {
  Table table{{"model", "folder", "type", "attn_logits_scaling", "source commit"}, {}};
  for (const ModelResults& model : models) {
    for (const ResultOrigin& origin : model.origins) {
      constexpr size_t kCommitDigits = 10;
      table.rows.push_back({model.name, origin.folder, origin.type, origin.attn_logits_scaling,
                            origin.commit.substr(0, kCommitDigits)});
    }
  }
  return table;
}

Table origin_table(const std::vector<ModelComparison>& comparisons) {
  Table table{{"along the context", "folder", "attn_logits_scaling", "teacher",
               "attn_logits_scaling", "text", "windows", "tokens"},
              {}};
  for (const ModelComparison& comparison : comparisons) {
    const ResultOrigin &student = comparison.of_student, &teacher = comparison.of_teacher;
    table.rows.push_back({comparison.name, student.folder, student.attn_logits_scaling,
                          teacher.folder, teacher.attn_logits_scaling, comparison.text,
                          std::to_string(comparison.windows),
                          std::to_string(comparison.positions.size())});
  }
  return table;
}

/// All names of the page, the models' first.
std::vector<std::string> names_of(const ModelReportData& data) {
  std::vector<std::string> names;
  const auto add = [&](const std::string& name) {
    if (std::ranges::find(names, name) == names.end()) names.push_back(name);
  };
  for (const ModelResults& model : data.models) add(model.name);
  if (!data.comparisons.empty() && have_one_teacher(data.comparisons)) {
    add(data.comparisons.front().teacher);
  }
  for (const ModelComparison& comparison : data.comparisons) add(comparison.name);
  return names;
}

/// Series in the order of these names, without points where the chart has none of a name: a
/// series has the colour of its place. Others follow; a chart of others alone stays as it is.
void place_series(Chart& chart, const std::vector<std::string>& names) {
  const bool is_of_these = std::ranges::any_of(chart.series, [&](const Series& series) {
    return !series.x.empty() && std::ranges::find(names, series.name) != names.end();
  });
  if (!is_of_these) return;
  std::vector<Series> placed(names.size()), others;
  for (Series& series : chart.series) {
    if (series.x.empty()) continue;
    const auto place = static_cast<size_t>(std::ranges::find(names, series.name) - names.begin());
    const bool is_free = place < names.size() && placed[place].x.empty();
    (is_free ? placed[place] : others.emplace_back()) = std::move(series);
  }
  std::ranges::move(others, std::back_inserter(placed));
  chart.series = std::move(placed);
}

void append(ReportParts& parts, ReportParts more) {
  std::ranges::move(more, std::back_inserter(parts));
}

ReportParts comparison_parts(const ModelReportData& data) {
  const auto& comparisons = data.comparisons;
  if (comparisons.empty()) return {};
  std::vector<Chart> charts = comparison_charts(comparisons);
  return {std::string("KL(teacher || model) of the next tokens, nats a token:"),
          position_table(lines_of(comparisons, divergence), "{:.4f}"),
          std::move(charts[0]),
          std::string("Share of tokens for which both models have the same first choice:"),
          position_table(lines_of(comparisons, agreement), "{:.4f}"),
          std::move(charts[1]),
          std::string(have_one_teacher(comparisons)
                          ? "Perplexity on the same text:"
                          : "Perplexity, of each model on the text of its comparison:"),
          position_table(perplexities(comparisons), "{:.3f}"),
          std::move(charts[2])};
}

/// Milliseconds and bytes over the context.
ReportParts decode_parts(const ModelReportData& data) {
  if (data.speeds.empty()) return {};
  ReportParts parts =
      speed_parts(data.speeds, &DecodeSpeed::ms, milliseconds, "context; milliseconds a token",
                  {.title = "Decode: milliseconds a token", .y_label = "ms"});
  append(parts, speed_parts(data.speeds, &DecodeSpeed::cache_bytes, mebibytes,
                            "context; cache and states of one sequence, MiB",
                            {.title = "Cache and states of one sequence", .y_label = "bytes"}));
  return parts;
}

/// A row a run and stage, and the charts.
ReportParts training_parts(const ModelReportData& data) {
  if (data.curves.empty()) return {};
  Table table{{"run", "stage", "steps", "of", "first loss", "last loss", "tokens/s"}, {}};
  for (const TrainingCurve& curve : data.curves) {
    table.rows.push_back({curve.name, curve.stage, fmt::format("{:.0f}", curve.step.back()),
                          std::to_string(curve.steps), fmt::format("{:.4f}", curve.loss.front()),
                          fmt::format("{:.4f}", curve.loss.back()),
                          fmt::format("{:.0f}", curve.tokens_per_second)});
  }
  ReportParts parts = {std::move(table)};
  std::ranges::move(loss_charts(data.curves), std::back_inserter(parts));
  return parts;
}

/// Which files and settings the columns are of.
ReportParts origin_parts(const ModelReportData& data) {
  ReportParts parts;
  for (Table table : {origin_table(data.models), origin_table(data.comparisons)}) {
    if (!table.rows.empty()) parts.emplace_back(std::move(table));
  }
  return parts;
}

struct Section {
  const char* heading;
  ReportParts (*parts)(const ModelReportData&);  // empty: the page has no such section
};
constexpr Section kSections[] = {{"Tasks", task_parts},
                                 {"Long prompts", length_parts},
                                 {"Needle grid", grid_parts},
                                 {"Along the context", comparison_parts},
                                 {"Decode", decode_parts},
                                 {"Training", training_parts},
                                 {"How it was measured", settings_parts},
                                 {"What was measured", origin_parts}};

}  // namespace

std::vector<Chart> comparison_charts(const std::vector<ModelComparison>& comparisons) {
  Chart distance{.title = "KL along the context", .y_label = "nats a token"};
  Chart choice{.title = "Same first choice", .y_label = "share of tokens"};
  if (have_one_teacher(comparisons)) {
    // Its place among the colours: each model has one colour in all charts.
    distance.series = choice.series = {Series{comparisons.front().teacher, {}, {}}};
  }
  return {position_chart(std::move(distance), lines_of(comparisons, divergence)),
          position_chart(std::move(choice), lines_of(comparisons, agreement)),
          position_chart({.title = "Perplexity along the context"}, perplexities(comparisons))};
}

std::vector<Chart> loss_charts(const std::vector<TrainingCurve>& curves) {
  std::vector<Chart> charts;
  for (const TrainingCurve& curve : curves) {
    Chart& chart = entry(charts, &Chart::title, "Loss of " + curve.stage);
    chart.x_label = "step";
    chart.y_label = "loss";
    chart.log_y = true;
    chart.series.push_back({curve.name, curve.step, curve.loss});
  }
  return charts;
}

Report model_report(const std::string& title, const ModelReportData& data) {
  std::vector<std::string> models;
  for (const ModelResults& model : data.models) models.push_back(model.name);
  Report report{.title = title, .subtitle = join(models, ", ")};
  const std::string difference = settings_difference(data.models);
  if (!difference.empty()) report.parts.emplace_back(difference);
  for (const auto& [heading, parts_of] : kSections) {
    ReportParts parts = parts_of(data);
    if (parts.empty()) continue;
    report.parts.emplace_back(Heading{heading});
    append(report.parts, std::move(parts));
  }
  const std::vector<std::string> names = names_of(data);
  for (ReportPart& part : report.parts) {
    if (auto* chart = std::get_if<Chart>(&part)) place_series(*chart, names);
  }
  return report;
}

}  // namespace hypenet
