// The tasks by name, and the groups.
#include <algorithm>
#include <iterator>
#include <set>
#include <utility>

#include "base/error.h"
#include "eval/choice_tasks.h"
#include "eval/language_tasks.h"
#include "eval/mmlu.h"
#include "eval/own_tasks.h"
#include "eval/recall_tasks.h"
#include "eval/ruler/ruler.h"
#include "eval/task.h"

namespace hypenet {
namespace {

bool is_one_of(const std::vector<TaskName>& names, std::string_view name) {
  return std::ranges::any_of(names, [&](const TaskName& known) { return known.name == name; });
}

std::string known_names() {
  std::string names;
  for (const TaskName& known : known_tasks()) {
    // The subjects of MMLU would fill the line.
    const bool is_subject = known.name.starts_with("mmlu_") && mmlu_group(known.name).empty();
    if (!is_subject) names += concat(names.empty() ? "" : ", ", known.name);
  }
  return names;
}

/// The names of a group's tasks; of another name none.
std::vector<std::string> group_members(std::string_view name) {
  if (name == "ruler") return ruler_task_names();
  if (name == "lambada") return {"lambada_openai", "lambada_standard"};
  return mmlu_group(name);
}

std::vector<Task> load_one(std::string_view name, const TaskOptions& options) {
  if (is_own_task(name)) return {load_own_task(name, options)};
  const bool is_mmlu = name.starts_with("mmlu_");
  const std::vector<ChoiceTask> choices = is_mmlu ? mmlu_tasks() : choice_tasks();
  const auto choice = std::ranges::find(
      choices, name, [](const ChoiceTask& task) -> std::string_view { return task.name.name; });
  if (choice != choices.end()) {
    Task task = load_choice_task(*choice, options);
    if (is_mmlu) task.group = "mmlu";
    return {std::move(task)};
  }
  if (is_one_of(language_task_names(), name)) return {load_language_task(name, options)};
  if (is_one_of(recall_task_names(), name)) return {load_recall_task(name, options)};
  const bool is_ruler = std::ranges::find(ruler_task_names(), name) != ruler_task_names().end();
  HYPENET_CHECK(is_ruler, name, ": expected a task (", known_names(),
                ", text, recall, needle-grid) or a file ending in .jsonl, found another name");
  std::vector<Task> tasks = load_ruler_task(name, options);
  for (Task& task : tasks) task.group = "ruler";
  return tasks;
}

}  // namespace

std::vector<Task> load_tasks(std::span<const std::string> names, const TaskOptions& options) {
  std::vector<Task> tasks;
  std::set<std::string> loaded;
  for (const std::string& name : names) {
    std::vector<std::string> members = group_members(name);
    if (members.empty()) members = {name};
    for (const std::string& member : members) {
      if (!loaded.insert(member).second) continue;
      std::ranges::move(load_one(member, options), std::back_inserter(tasks));
    }
  }
  return tasks;
}

std::vector<TaskName> known_tasks() {
  std::vector<TaskName> names;
  const auto append = [&](std::vector<TaskName> more) {
    std::ranges::move(more, std::back_inserter(names));
  };
  for (const ChoiceTask& task : choice_tasks()) names.push_back(task.name);
  append({{"lambada", "LAMBADA: both of the next two"}});
  append(language_task_names());
  append(recall_task_names());
  append({{"ruler", "RULER: all thirteen of its tasks, at each of --lengths"}});
  for (const std::string& name : ruler_task_names()) names.push_back({name, "RULER"});
  append(mmlu_group_names());
  for (const ChoiceTask& task : mmlu_tasks()) names.push_back(task.name);
  return names;
}

}  // namespace hypenet
