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

std::vector<TaskName> names_of(const std::vector<ChoiceTask>& tasks) {
  std::vector<TaskName> names;
  std::ranges::transform(tasks, std::back_inserter(names), &ChoiceTask::name);
  return names;
}

Task load_choice(const std::vector<ChoiceTask>& tasks, std::string_view name,
                 const TaskOptions& options) {
  return load_choice_task(
      *std::ranges::find(tasks, name, [](const ChoiceTask& task) { return task.name.name; }),
      options);
}

std::vector<TaskName> ruler_names() {
  std::vector<TaskName> names;
  std::ranges::transform(ruler_task_names(), std::back_inserter(names),
                         [](const std::string& name) {
                           return TaskName{name, "RULER"};
                         });
  return names;
}

/// Tasks that are read alike.
struct Family {
  std::vector<TaskName> groups;  // each names several of the tasks
  std::vector<TaskName> tasks;
  std::vector<std::string> (*members)(std::string_view group) = nullptr;  // empty: no such group
  std::vector<Task> (*load)(std::string_view name, const TaskOptions& options) = nullptr;
};

/// A new task is a row here, or of the table of its family.
std::vector<Family> families() {
  return {{.groups = {},
           .tasks = names_of(choice_tasks()),
           .load =
               [](std::string_view name, const TaskOptions& options) {
                 return std::vector{load_choice(choice_tasks(), name, options)};
               }},
          {.groups = {{"lambada", "LAMBADA: both of the next two"}},
           .tasks = language_task_names(),
           .members = [](std::string_view name) -> std::vector<std::string> {
             if (name != "lambada") return {};
             return {"lambada_openai", "lambada_standard"};
           },
           .load =
               [](std::string_view name, const TaskOptions& options) {
                 return std::vector{load_language_task(name, options)};
               }},
          {.groups = {},
           .tasks = recall_task_names(),
           .load =
               [](std::string_view name, const TaskOptions& options) {
                 return std::vector{load_recall_task(name, options)};
               }},
          {.groups = {{"ruler", "RULER: all thirteen of its tasks, at each of --lengths"}},
           .tasks = ruler_names(),
           .members =
               [](std::string_view name) {
                 return name == "ruler" ? ruler_task_names() : std::vector<std::string>();
               },
           .load =
               [](std::string_view name, const TaskOptions& options) {
                 std::vector<Task> tasks = load_ruler_task(name, options);
                 for (Task& task : tasks) task.group = "ruler";
                 return tasks;
               }},
          {.groups = mmlu_group_names(),
           .tasks = names_of(mmlu_tasks()),
           .members = mmlu_group,
           .load = [](std::string_view name, const TaskOptions& options) {
             Task task = load_choice(mmlu_tasks(), name, options);
             task.group = "mmlu";
             return std::vector{std::move(task)};
           }}};
}

/// The names of a group's tasks; of a task its own.
std::vector<std::string> members_of(const std::string& name) {
  for (const Family& family : families()) {
    if (!family.members) continue;
    if (auto members = family.members(name); !members.empty()) return members;
  }
  return {name};
}

std::vector<Task> load_one(std::string_view name, const TaskOptions& options) {
  if (is_own_task(name)) return {load_own_task(name, options)};
  for (const Family& family : families()) {
    if (is_one_of(family.tasks, name)) return family.load(name, options);
  }
  throw Error(
      concat(name, ": expected a task (", known_names(),
             ", text, recall, needle-grid) or a file ending in .jsonl, found another name"));
}

}  // namespace

std::vector<Task> load_tasks(std::span<const std::string> names, const TaskOptions& options) {
  std::vector<Task> tasks;
  std::set<std::string> loaded;
  for (const std::string& name : names) {
    for (const std::string& member : members_of(name)) {
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
  for (const Family& family : families()) {
    append(family.groups), append(family.tasks);
  }
  return names;
}

}  // namespace hypenet
