// How tasks were measured, and where models were not measured alike.
#include <algorithm>
#include <optional>
#include <utility>

#include "eval/model_report.h"

namespace hypenet {
namespace {

/// One task's settings: of each model, null where it was not measured or its file is silent.
struct TaskSettings {
  std::string task;
  std::vector<Json> models = {};  // [models]
};

std::vector<TaskSettings> settings_of(const std::vector<ModelResults>& models) {
  std::vector<TaskSettings> all;
  const auto add = [&](const std::string& task, size_t model, const Json& settings) {
    if (!settings.is_object() || settings.empty()) return;
    auto found = std::ranges::find(all, task, &TaskSettings::task);
    if (found == all.end()) {
      all.push_back({task, std::vector<Json>(models.size())});
      found = std::prev(all.end());
    }
    found->models[model] = settings;
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
  std::string text;
  for (const Json& part : value) text += concat(text.empty() ? "" : " ", value_text(part));
  return text;
}

/// "windows 64, context 512"
std::string settings_cell(const Json& settings) {
  if (!settings.is_object()) return "";
  std::string text;
  for (const auto& [key, value] : settings.items()) {
    text += concat(text.empty() ? "" : ", ", key, " ", value_text(value));
  }
  return text;
}

/// The values of a setting where models differ, "64 / 16"; nothing where they agree. What text is
/// called says nothing: its number of tokens does. How much a model reads changes wikitext, whose
/// pages are cut into windows of that length; elsewhere it is the model's own.
std::optional<std::string> differing_values(const TaskSettings& task, const std::string& key) {
  if (key == "text" || (key == "max_length" && task.task != "wikitext")) return std::nullopt;
  std::vector<Json> values;
  for (const Json& settings : task.models) {
    if (settings.is_object() && settings.contains(key)) values.push_back(settings.at(key));
  }
  const bool differs =
      std::ranges::any_of(values, [&](const Json& value) { return value != values.front(); });
  if (!differs) return std::nullopt;
  std::string text;
  for (const Json& value : values) text += concat(text.empty() ? "" : " / ", value_text(value));
  return text;
}

/// "windows 64 / 16, seed 0 / 1"; empty where all agree.
std::string differences(const TaskSettings& task) {
  std::string text;
  std::vector<std::string> seen;
  for (const Json& settings : task.models) {
    if (!settings.is_object()) continue;
    for (const auto& [key, value] : settings.items()) {
      if (std::ranges::find(seen, key) != seen.end()) continue;
      seen.push_back(key);
      const auto values = differing_values(task, key);
      if (values) text += concat(text.empty() ? "" : ", ", key, " ", *values);
    }
  }
  return text;
}

}  // namespace

std::string settings_difference(const std::vector<ModelResults>& models) {
  std::vector<std::pair<std::string, std::string>> found;  // difference, tasks
  for (const TaskSettings& task : settings_of(models)) {
    const std::string difference = differences(task);
    if (difference.empty()) continue;
    const auto same =
        std::ranges::find(found, difference, &std::pair<std::string, std::string>::first);
    if (same == found.end()) {
      found.emplace_back(difference, task.task);
    } else {
      same->second += concat(", ", task.task);
    }
  }
  std::string text;
  for (const auto& [difference, tasks] : found) {
    text += concat(text.empty() ? "" : "; ", tasks, ": ", difference);
  }
  return text.empty() ? "" : concat("Not measured alike: ", text, ".");
}

std::vector<ReportPart> settings_section(const std::vector<ModelResults>& models) {
  Table table{{"task"}, {}};
  for (const ModelResults& model : models) table.header.push_back(model.name);
  for (const TaskSettings& task : settings_of(models)) {
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
  return {Heading{"How it was measured"}, std::move(table)};
}

}  // namespace hypenet
