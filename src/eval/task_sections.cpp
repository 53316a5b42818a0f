// Sections on tasks: scores, scores over prompt lengths, needle grids.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <set>
#include <tuple>

#include "base/join.h"
#include "eval/mmlu.h"
#include "eval/report_sections.h"
#include "eval/ruler/ruler.h"
#include "report/axis.h"

namespace hypenet {
namespace {

constexpr const char* kRecall = "recall";
constexpr const char* kMmlu = "mmlu";

/// A value of a task and metric for each model; null where it was not measured.
struct ScoreRow {
  std::string task, metric;
  std::vector<const TaskResult*> tasks;  // [models]
  std::vector<const Metric*> values;     // [models]
};

/// What a task's name says of its length: "niah_single_1" and 4096 of "niah_single_1/4096".
struct LengthTask {
  std::string name;
  int64_t length = 0;
};

/// nullopt: a task without lengths. "ruler" itself names the means of a length.
std::optional<LengthTask> length_task(const std::string& task) {
  const size_t slash = task.rfind('/');
  if (slash == std::string::npos) return {};
  const std::string name = task.substr(0, slash), length = task.substr(slash + 1);
  const auto& ruler = ruler_task_names();
  const bool has_lengths =
      name == kRecall || name == "ruler" || std::ranges::find(ruler, name) != ruler.end();
  const bool is_number = !length.empty() && length.size() < 12 &&
                         std::ranges::all_of(length, [](char c) { return c >= '0' && c <= '9'; });
  if (!has_lengths || !is_number) return {};
  return LengthTask{name, std::stoll(length)};
}

bool is_reported(const std::vector<Metric>& metrics, const std::string& name) {
  const auto has = [&](const char* other) {
    return std::ranges::any_of(metrics, [&](const Metric& metric) { return metric.name == other; });
  };
  if (name == "acc") return !has("acc_norm");
  if (name == "byte_perplexity" || name == "bits_per_byte") return !has("word_perplexity");
  return true;
}

/// A row a task and metric, in the order in which the models have them first.
std::vector<ScoreRow> score_rows(const std::vector<ModelResults>& models) {
  std::vector<ScoreRow> rows;
  std::map<std::pair<std::string, std::string>, size_t> places;
  for (size_t model = 0; model < models.size(); ++model) {
    for (const TaskResult& task : models[model].tasks) {
      for (const Metric& metric : task.metrics) {
        if (!is_reported(task.metrics, metric.name)) continue;
        const auto [found, is_new] = places.emplace(std::pair(task.name, metric.name), rows.size());
        if (is_new) {
          rows.push_back({task.name, metric.name, std::vector<const TaskResult*>(models.size()),
                          std::vector<const Metric*>(models.size())});
        }
        rows[found->second].tasks[model] = &task;
        if (!std::isnan(metric.value)) rows[found->second].values[model] = &metric;
      }
    }
  }
  return rows;
}

/// Its subjects, and its categories.
bool is_part_of_mmlu(const std::string& task) {
  if (task == kMmlu) return false;
  const auto subjects = mmlu_group(kMmlu);
  const auto groups = mmlu_group_names();
  return std::ranges::find(subjects, task) != subjects.end() ||
         std::ranges::find(groups, task, &TaskName::name) != groups.end();
}

/// Whether a model that has this row's task has the mean of MMLU too, all of them.
bool have_mmlu(const ScoreRow& row, const std::vector<ModelResults>& models) {
  for (size_t i = 0; i < models.size(); ++i) {
    const auto& tasks = models[i].tasks;
    const bool has_mmlu = std::ranges::find(tasks, kMmlu, &TaskResult::name) != tasks.end();
    if (row.tasks[i] != nullptr && !has_mmlu) return false;
  }
  return true;
}

/// The rows of the first table: tasks without lengths; of MMLU only its mean where every model that
/// has the part has that too.
std::vector<ScoreRow> task_rows(const std::vector<ModelResults>& models) {
  std::vector<ScoreRow> rows = score_rows(models);
  std::erase_if(rows, [&](const ScoreRow& row) {
    return length_task(row.task) || (is_part_of_mmlu(row.task) && have_mmlu(row, models));
  });
  return rows;
}

std::string score(double value) {
  return fmt::format("{:.{}f}", value, std::abs(value) < 10 ? 4 : 2);
}

std::string score_cell(const Metric* metric) {
  if (metric == nullptr) return "";
  return metric->error ? score(metric->value) + " ± " + score(*metric->error)
                       : score(metric->value);
}

/// One number where the models agree, else each model's; nothing where none is known.
std::string counts_cell(const ScoreRow& row, int64_t TaskResult::*count) {
  std::vector<std::string> values;
  std::set<std::string> distinct;
  for (const TaskResult* task : row.tasks) {
    if (task == nullptr) continue;
    values.push_back(task->*count == kUnknown ? "?" : std::to_string(task->*count));
    distinct.insert(values.back());
  }
  if (distinct == std::set<std::string>{"?"}) return "";
  if (distinct.size() == 1) return values.front();
  return join(values, " / ");
}

/// A group's members count, and not the group; but MMLU is one task.
bool is_accuracy(const ScoreRow& row) {
  const bool is_group = std::ranges::any_of(
      row.tasks, [](const TaskResult* task) { return task != nullptr && !task->of.empty(); });
  return (row.metric == "acc" || row.metric == "acc_norm") && !is_part_of_mmlu(row.task) &&
         (!is_group || row.task == kMmlu);
}

/// A model's mean over rows that it has, with its standard error where each has one.
Metric mean_of(const std::vector<ScoreRow>& rows, size_t model) {
  const auto n = static_cast<double>(rows.size());
  double sum = 0, squares = 0;
  bool has_error = true;
  for (const ScoreRow& row : rows) {
    const Metric& metric = *row.values[model];
    sum += metric.value;
    has_error &= metric.error.has_value();
    squares += metric.error.value_or(0) * metric.error.value_or(0);
  }
  Metric mean{.value = sum / n};
  if (has_error) mean.error = std::sqrt(squares) / n;
  return mean;
}

/// Adds the means over the accuracies that all models have (but those without any), where there are
/// at least two.
void add_means(Table& table, std::vector<ScoreRow> rows, const std::vector<ModelResults>& models) {
  std::erase_if(rows, [](const ScoreRow& row) { return !is_accuracy(row); });
  std::set<size_t> measured;
  for (const ScoreRow& row : rows) {
    for (size_t i = 0; i < models.size(); ++i) {
      if (row.values[i] != nullptr) measured.insert(i);
    }
  }
  std::erase_if(rows, [&](const ScoreRow& row) {
    return std::ranges::any_of(measured, [&](size_t i) { return row.values[i] == nullptr; });
  });
  if (rows.size() < 2) return;
  const size_t columns = table.header.size(), first_model = columns - models.size();
  std::vector<std::string> means(columns), differences(columns);
  means[0] = fmt::format("mean of the {} accuracy tasks that all models have", rows.size());
  differences[0] = "difference from " + models.front().name;
  std::optional<double> first;
  for (const size_t i : measured) {
    const Metric mean = mean_of(rows, i);
    means[first_model + i] = score_cell(&mean);
    if (i == 0) first = mean.value;
    if (i > 0 && first) {
      differences[first_model + i] = fmt::format("{:+.4f}", mean.value - *first);
    }
  }
  table.rows.push_back(std::move(means));
  if (first && models.size() > 1) table.rows.push_back(std::move(differences));
}

/// Scores over lengths, of one task and metric or of a mean of tasks.
struct LengthLines {
  std::string task = {}, title = {};                   // title: in tables and charts
  std::vector<std::map<int64_t, double>> models = {};  // [models], by length
};

std::vector<LengthLines> task_lines(const std::vector<ModelResults>& models) {
  std::vector<LengthLines> all;
  for (const ScoreRow& row : score_rows(models)) {
    const auto task = length_task(row.task);
    if (!task || task->name == "ruler") continue;
    const bool is_plain = row.metric == "all" || task->name == kRecall;
    const std::string title = is_plain ? task->name : task->name + ", " + row.metric;
    LengthLines& lines = entry(all, &LengthLines::title, title);
    lines.task = task->name;
    lines.models.resize(models.size());
    for (size_t i = 0; i < models.size(); ++i) {
      if (row.values[i] != nullptr) lines.models[i][task->length] = row.values[i]->value;
    }
  }
  return all;
}

/// The mean of the RULER tasks that every model has at each length at which it has any; no lines
/// where these are fewer than two.
std::optional<LengthLines> ruler_means(const std::vector<LengthLines>& all, size_t models) {
  std::vector<const LengthLines*> tasks;  // their first metrics
  std::set<std::string> seen = {kRecall};
  for (const LengthLines& lines : all) {
    if (seen.insert(lines.task).second) tasks.push_back(&lines);
  }
  std::vector<std::set<int64_t>> lengths(models);
  for (const LengthLines* lines : tasks) {
    for (size_t i = 0; i < models; ++i) {
      for (const auto& point : lines->models[i]) lengths[i].insert(point.first);
    }
  }
  std::erase_if(tasks, [&](const LengthLines* lines) {
    for (size_t i = 0; i < models; ++i) {
      if (lines->models[i].size() != lengths[i].size()) return true;
    }
    return false;
  });
  if (tasks.size() < 2) return {};
  LengthLines means{.title = fmt::format("RULER, mean of {} tasks", tasks.size())};
  means.models.resize(models);
  for (size_t i = 0; i < models; ++i) {
    for (const LengthLines* lines : tasks) {
      for (const auto& [length, value] : lines->models[i]) {
        means.models[i][length] += value / static_cast<double>(tasks.size());
      }
    }
  }
  return means;
}

Table length_table(const std::vector<LengthLines>& all, const std::vector<ModelResults>& models,
                   const std::set<int64_t>& lengths) {
  Table table{{"task", "model"}, {}};
  for (const int64_t length : lengths) table.header.push_back(token_label(length));
  for (const LengthLines& lines : all) {
    bool is_first = true;
    for (size_t i = 0; i < models.size(); ++i) {
      if (lines.models[i].empty()) continue;
      std::vector<std::string> row = {is_first ? lines.title : "", models[i].name};
      is_first = false;
      for (const int64_t length : lengths) {
        const auto found = lines.models[i].find(length);
        row.push_back(found == lines.models[i].end() ? "" : fmt::format("{:.3f}", found->second));
      }
      table.rows.push_back(std::move(row));
    }
  }
  return table;
}

Chart length_chart(const LengthLines& lines, const std::vector<ModelResults>& models) {
  Chart chart{.title = lines.title + " over prompt length",
              .x_label = "tokens of a prompt",
              .y_label = "score",
              .log_x = true,
              .shown_y = {0, 1}};
  for (size_t i = 0; i < models.size(); ++i) {
    chart.series.push_back(series_of(models[i].name, lines.models[i]));
  }
  return chart;
}

/// Grids of the same prompts together. What one model was compared with may be in the files of
/// another, too: an equal grid of the same name is shown once.
std::vector<std::vector<NeedleGrid>> grids_by_prompts(const std::vector<ModelResults>& models) {
  const auto prompts_of = [](const NeedleGrid& grid) {
    return std::tie(grid.haystack, grid.contexts, grid.depths, grid.samples);
  };
  std::vector<std::vector<NeedleGrid>> groups;
  for (const ModelResults& model : models) {
    for (const NeedleGrid& grid : model.grids) {
      auto group = std::ranges::find_if(
          groups, [&](const auto& other) { return prompts_of(other.front()) == prompts_of(grid); });
      if (group == groups.end()) group = groups.insert(group, std::vector<NeedleGrid>{});
      const bool is_known = std::ranges::any_of(*group, [&](const NeedleGrid& other) {
        return other.name == grid.name && other.shares == grid.shares;
      });
      if (!is_known) group->push_back(grid);
    }
  }
  return groups;
}

Table grid_table(const std::vector<NeedleGrid>& grids) {
  Table table{{"share found, mean over depths"}, {}};
  for (const int64_t context : grids.front().contexts) {
    table.header.push_back(token_label(context));
  }
  table.header.emplace_back("mean");
  for (const NeedleGrid& grid : grids) {
    std::vector<std::string> row = {grid.name};
    for (const auto& shares : grid.shares) {
      double sum = 0;
      for (const double share : shares) sum += share;
      row.push_back(fmt::format("{:.3f}", sum / static_cast<double>(shares.size())));
    }
    row.push_back(fmt::format("{:.3f}", grid.mean()));
    table.rows.push_back(std::move(row));
  }
  return table;
}

}  // namespace

ReportParts task_parts(const ModelReportData& data) {
  const std::vector<ScoreRow> rows = task_rows(data.models);
  if (rows.empty()) return {};
  Table table{{"task", "metric", "shots", "n"}, {}};
  for (const ModelResults& model : data.models) table.header.push_back(model.name);
  for (const ScoreRow& row : rows) {
    std::vector<std::string> cells = {row.task, row.metric, counts_cell(row, &TaskResult::shots),
                                      counts_cell(row, &TaskResult::count)};
    for (const Metric* metric : row.values) cells.push_back(score_cell(metric));
    table.rows.push_back(std::move(cells));
  }
  add_means(table, rows, data.models);
  return {std::move(table)};
}

ReportParts length_parts(const ModelReportData& data) {
  std::vector<LengthLines> all = task_lines(data.models);
  if (auto means = ruler_means(all, data.models.size())) all.insert(all.begin(), std::move(*means));
  if (all.empty()) return {};
  std::set<int64_t> lengths;
  for (const LengthLines& lines : all) {
    for (const auto& line : lines.models) {
      for (const auto& point : line) lengths.insert(point.first);
    }
  }
  ReportParts parts = {length_table(all, data.models, lengths)};
  if (lengths.size() < 2) return parts;
  for (const LengthLines& lines : all) parts.emplace_back(length_chart(lines, data.models));
  return parts;
}

ReportParts grid_parts(const ModelReportData& data) {
  ReportParts parts;
  for (const auto& grids : grids_by_prompts(data.models)) {
    parts.emplace_back(grid_table(grids));
    std::string title = "Facts found, by context and depth";
    if (!grids.front().haystack.empty()) title += ": " + grids.front().haystack;
    parts.emplace_back(Picture{title, draw_heat_maps(grids, title)});
  }
  return parts;
}

}  // namespace hypenet
