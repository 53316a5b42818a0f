// Sections on tasks: scores, scores over prompt lengths, needle grids.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <set>
#include <tuple>

#include "eval/mmlu.h"
#include "eval/model_report.h"
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
std::set<std::string> parts_of_mmlu() {
  const std::vector<std::string> subjects = mmlu_group(kMmlu);
  std::set<std::string> parts(subjects.begin(), subjects.end());
  for (const TaskName& group : mmlu_group_names()) {
    if (group.name != kMmlu) parts.emplace(group.name);
  }
  return parts;
}

bool is_part_of_mmlu(const std::string& task) {
  static const std::set<std::string> kParts = parts_of_mmlu();
  return kParts.contains(task);
}

/// The rows of the first table: tasks without lengths; of MMLU only its mean where every model that
/// has the part has that too.
std::vector<ScoreRow> task_rows(const std::vector<ModelResults>& models) {
  std::vector<ScoreRow> rows = score_rows(models);
  std::erase_if(rows, [](const ScoreRow& row) { return length_task(row.task).has_value(); });
  std::vector<bool> has_mmlu(models.size());
  for (size_t i = 0; i < models.size(); ++i) {
    has_mmlu[i] =
        std::ranges::find(models[i].tasks, kMmlu, &TaskResult::name) != models[i].tasks.end();
  }
  std::erase_if(rows, [&](const ScoreRow& row) {
    if (!is_part_of_mmlu(row.task)) return false;
    for (size_t i = 0; i < models.size(); ++i) {
      if (row.tasks[i] != nullptr && !has_mmlu[i]) return false;
    }
    return true;
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
  std::string text;
  for (const std::string& value : values) text += (text.empty() ? "" : " / ") + value;
  return text;
}

/// A group's members count, and not the group; but MMLU is one task.
bool is_accuracy(const ScoreRow& row) {
  const bool is_group = std::ranges::any_of(
      row.tasks, [](const TaskResult* task) { return task != nullptr && !task->of.empty(); });
  return (row.metric == "acc" || row.metric == "acc_norm") && !is_part_of_mmlu(row.task) &&
         (!is_group || row.task == kMmlu);
}

/// The means over the rows that all models have (but those without any), with their standard
/// errors; empty for fewer than two rows.
struct SharedMeans {
  size_t rows = 0;
  std::vector<std::optional<Metric>> values = {};  // [models]
};

SharedMeans shared_means(std::vector<ScoreRow> rows, size_t models) {
  std::vector<bool> takes_part(models);
  for (const ScoreRow& row : rows) {
    for (size_t i = 0; i < models; ++i) takes_part[i] = takes_part[i] || row.values[i] != nullptr;
  }
  std::erase_if(rows, [&](const ScoreRow& row) {
    for (size_t i = 0; i < models; ++i) {
      if (takes_part[i] && row.values[i] == nullptr) return true;
    }
    return false;
  });
  SharedMeans means{.rows = rows.size()};
  means.values.resize(models);
  if (rows.size() < 2) return means;
  const auto n = static_cast<double>(rows.size());
  for (size_t i = 0; i < models; ++i) {
    if (!takes_part[i]) continue;
    double sum = 0, squares = 0;
    bool has_error = true;
    for (const ScoreRow& row : rows) {
      sum += row.values[i]->value;
      has_error &= row.values[i]->error.has_value();
      if (has_error) squares += *row.values[i]->error * *row.values[i]->error;
    }
    Metric& mean = means.values[i].emplace();
    mean.value = sum / n;
    if (has_error) mean.error = std::sqrt(squares) / n;
  }
  return means;
}

void add_means(Table& table, const std::vector<ScoreRow>& rows,
               const std::vector<ModelResults>& models) {
  std::vector<ScoreRow> accuracies;
  std::ranges::copy_if(rows, std::back_inserter(accuracies), is_accuracy);
  const SharedMeans means = shared_means(accuracies, models.size());
  if (means.rows < 2) return;
  const auto& values = means.values;
  std::vector<std::string> row = {
      fmt::format("mean of the {} accuracy tasks that all models have", means.rows), "", "", ""};
  for (const auto& value : values) row.push_back(score_cell(value ? &*value : nullptr));
  table.rows.push_back(row);
  if (models.size() < 2 || !values.front()) return;
  row = {"difference from " + models.front().name, "", "", "", ""};
  for (size_t i = 1; i < values.size(); ++i) {
    row.push_back(values[i] ? fmt::format("{:+.4f}", values[i]->value - values.front()->value)
                            : "");
  }
  table.rows.push_back(row);
}

/// Scores over lengths, of one task and metric or of a mean of tasks.
struct LengthLines {
  std::string task = {}, metric = {}, title = {};      // title: in tables and charts
  std::vector<std::map<int64_t, double>> models = {};  // [models], by length
};

std::vector<LengthLines> task_lines(const std::vector<ModelResults>& models) {
  std::vector<LengthLines> all;
  for (const ScoreRow& row : score_rows(models)) {
    const auto task = length_task(row.task);
    if (!task || task->name == "ruler") continue;
    auto lines = std::ranges::find_if(all, [&](const LengthLines& other) {
      return other.task == task->name && other.metric == row.metric;
    });
    if (lines == all.end()) {
      const bool is_plain = row.metric == "all" || task->name == kRecall;
      all.push_back({task->name, row.metric, is_plain ? task->name : task->name + ", " + row.metric,
                     std::vector<std::map<int64_t, double>>(models.size())});
      lines = std::prev(all.end());
    }
    for (size_t i = 0; i < models.size(); ++i) {
      if (row.values[i] != nullptr) lines->models[i][task->length] = row.values[i]->value;
    }
  }
  return all;
}

/// The first metric of each RULER task.
std::vector<const LengthLines*> ruler_lines(const std::vector<LengthLines>& all) {
  std::vector<const LengthLines*> found;
  for (const LengthLines& lines : all) {
    const bool is_known = std::ranges::any_of(
        found, [&](const LengthLines* other) { return other->task == lines.task; });
    if (lines.task != kRecall && !is_known) found.push_back(&lines);
  }
  return found;
}

/// The mean of the RULER tasks that every model has at each length at which it has any; no lines
/// where these are fewer than two.
std::optional<LengthLines> ruler_means(const std::vector<LengthLines>& all, size_t models) {
  std::vector<const LengthLines*> tasks = ruler_lines(all);
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

std::vector<LengthLines> length_lines(const std::vector<ModelResults>& models) {
  std::vector<LengthLines> all = task_lines(models);
  if (auto means = ruler_means(all, models.size())) all.insert(all.begin(), std::move(*means));
  return all;
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

std::vector<ReportPart> task_section(const std::vector<ModelResults>& models) {
  const std::vector<ScoreRow> rows = task_rows(models);
  if (rows.empty()) return {};
  Table table{{"task", "metric", "shots", "n"}, {}};
  for (const ModelResults& model : models) table.header.push_back(model.name);
  for (const ScoreRow& row : rows) {
    std::vector<std::string> cells = {row.task, row.metric, counts_cell(row, &TaskResult::shots),
                                      counts_cell(row, &TaskResult::count)};
    for (const Metric* metric : row.values) cells.push_back(score_cell(metric));
    table.rows.push_back(std::move(cells));
  }
  add_means(table, rows, models);
  return {Heading{"Tasks"}, std::move(table)};
}

std::vector<ReportPart> length_section(const std::vector<ModelResults>& models) {
  const std::vector<LengthLines> all = length_lines(models);
  if (all.empty()) return {};
  std::set<int64_t> lengths;
  for (const LengthLines& lines : all) {
    for (const auto& line : lines.models) {
      for (const auto& point : line) lengths.insert(point.first);
    }
  }
  std::vector<ReportPart> parts = {Heading{"Long prompts"}, length_table(all, models, lengths)};
  if (lengths.size() < 2) return parts;
  for (const LengthLines& lines : all) parts.emplace_back(length_chart(lines, models));
  return parts;
}

std::vector<ReportPart> grid_section(const std::vector<ModelResults>& models) {
  const std::vector<std::vector<NeedleGrid>> groups = grids_by_prompts(models);
  if (groups.empty()) return {};
  std::vector<ReportPart> parts = {Heading{"Needle grid"}};
  for (const auto& grids : groups) {
    parts.emplace_back(grid_table(grids));
    std::string title = "Facts found, by context and depth";
    if (!grids.front().haystack.empty()) title += ": " + grids.front().haystack;
    parts.emplace_back(Picture{title, draw_heat_maps(grids, title)});
  }
  return parts;
}

}  // namespace hypenet
