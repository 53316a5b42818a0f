// How tasks were measured, and where models were not measured alike.
#include <algorithm>
#include <set>

#include "base/join.h"
#include "eval/report_sections.h"

namespace hypenet {
namespace {

/// One task's settings: of each model, null where it was not measured or its file is silent.
struct TaskSettings {
  std::string task = {};
  std::vector<Json> models = {};  // [models]
};

std::vector<TaskSettings> settings_of(const std::vector<ModelResults>& models) {
  std::vector<TaskSettings> all;
  const auto add = [&](const std::string& task, size_t model, const Json& settings) {
    if (!settings.is_object() || settings.empty()) return;
    auto& of_models = entry(all, &TaskSettings::task, task).models;
    of_models.resize(models.size());
    of_models[model] = settings;
  };
  for (size_t i = 0; i < models.size(); ++i) {
    for (const TaskResult& task : models[i].tasks) add(task.name, i, task.settings);
    if (models[i].grids.empty()) continue;
    const NeedleGrid& own = models[i].grids.front();
    add(concat("needle-grid in ", own.haystack), i, own.settings);
  }
  return all;
}

std::string value_text(const Json& value) {
  if (value.is_null()) return "none";
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_array()) return value.dump();
  std::vector<std::string> texts;
  for (const Json& part : value) texts.push_back(value_text(part));
  return join(texts, " ");
}

/// "windows 64, context 512"
std::string settings_cell(const Json& settings) {
  std::vector<std::string> texts;
  for (const auto& [key, value] : settings.items()) {
    texts.push_back(concat(key, " ", value_text(value)));
  }
  return join(texts, ", ");
}

/// The values of a setting where models differ, "64 / 16"; nothing where they agree. What text is
/// called says nothing: its number of tokens does. How much a model reads changes wikitext, whose
/// pages are cut into windows of that length; elsewhere it is the model's own.
std::string differing_values(const TaskSettings& task, const std::string& key) {
  if (key == "text" || (key == "max_length" && task.task != "wikitext")) return "";
  std::set<Json> values;
  std::vector<std::string> texts;
  for (const Json& settings : task.models) {
    if (!settings.is_object() || !settings.contains(key)) continue;
    values.insert(settings.at(key));
    texts.push_back(value_text(settings.at(key)));
  }
  return values.size() < 2 ? "" : join(texts, " / ");
}

/// "windows 64 / 16, seed 0 / 1"; empty where all agree.
std::string differences(const TaskSettings& task) {
  std::vector<std::string> texts;
  std::set<std::string> seen;
  for (const Json& settings : task.models) {
    for (const auto& [key, value] : settings.items()) {
      if (!seen.insert(key).second) continue;
      const std::string values = differing_values(task, key);
      if (!values.empty()) texts.push_back(concat(key, " ", values));
    }
  }
  return join(texts, ", ");
}

/// Tasks of which the same is to be said.
struct Alike {
  std::string difference = {};
  std::vector<std::string> tasks = {};
};

}  // namespace

std::string settings_difference(const std::vector<ModelResults>& models) {
  std::vector<Alike> found;
  for (const TaskSettings& task : settings_of(models)) {
    const std::string difference = differences(task);
    if (!difference.empty())
      entry(found, &Alike::difference, difference).tasks.push_back(task.task);
  }
  std::vector<std::string> texts;
  texts.reserve(found.size());
  for (const Alike& alike : found) {
    texts.push_back(concat(join(alike.tasks, ", "), ": ", alike.difference));
  }
  return texts.empty() ? "" : concat("Not measured alike: ", join(texts, "; "), ".");
}

ReportParts settings_parts(const ModelReportData& data) {
  Table table{{"task"}, {}};
  for (const ModelResults& model : data.models) table.header.push_back(model.name);
  for (const TaskSettings& task : settings_of(data.models)) {
    std::vector<std::string> row = {task.task};
    for (const Json& settings : task.models) row.push_back(settings_cell(settings));
    const auto same = std::ranges::find_if(table.rows, [&](const auto& other) {
      return std::equal(other.begin() + 1, other.end(), row.begin() + 1, row.end());
    });
    if (same == table.rows.end()) {
      table.rows.push_back(std::move(row));
    } else {
      same->front() += concat(", ", task.task);
    }
  }
  if (table.rows.empty()) return {};
  return {std::move(table)};
}

}  // namespace hypenet
