// Tasks by what they read.
#include "cli/task_options.h"

#include <algorithm>

#include "base/error.h"
#include "eval/choice_tasks.h"
#include "eval/language_tasks.h"
#include "eval/mmlu.h"
#include "eval/own_tasks.h"
#include "eval/recall_tasks.h"
#include "eval/ruler/ruler.h"

namespace hypenet {
namespace {

bool is_one_of(const std::vector<TaskName>& names, const std::string& name) {
  return std::ranges::find(names, name, &TaskName::name) != names.end();
}

bool is_choice(const std::string& name) {
  const std::vector<ChoiceTask> tasks = choice_tasks();
  const bool is_known =
      std::ranges::any_of(tasks, [&](const ChoiceTask& task) { return task.name.name == name; });
  return is_known || name.starts_with("mmlu_") || !mmlu_group(name).empty();
}

/// RULER's, of which these need no file.
TaskKinds ruler_kind(const std::string& name) {
  constexpr std::string_view kWithoutFiles[] = {"niah_single_1", "niah_multikey_2",
                                                "niah_multikey_3", "ruler_vt", "ruler_fwe"};
  return std::ranges::find(kWithoutFiles, name) != std::end(kWithoutFiles) ? kRulerKind
                                                                           : kRulerDataKind;
}

TaskKinds grid_kind(const std::string& haystack) {
  if (haystack == "facts") return kFactGridKind;
  return haystack == "repeated" ? kRepeatedGridKind : kEssayGridKind;
}

std::string joined(const std::vector<std::string>& names) {
  constexpr size_t kMost = 3;
  std::string text;
  for (size_t i = 0; i < std::min(names.size(), kMost); ++i) {
    text += concat(i == 0 ? "" : ", ", names[i]);
  }
  return names.size() > kMost ? concat(text, " ...") : text;
}

TaskKinds readers_of(std::span<const TaskOption> table, const std::string& flag) {
  TaskKinds readers = 0;
  for (const TaskOption& option : table) {
    if (option.flag == flag) readers |= option.readers;
  }
  return readers;
}

}  // namespace

TaskKinds kinds_of(const std::string& task, const std::string& haystack) {
  if (is_own_task(task)) return kOwnKind;
  const std::string name = task.substr(0, task.find('/'));
  const auto& ruler = ruler_task_names();
  if (name == "text") return kTextKind;
  if (name == "recall") return kRecallKind;
  if (name == "lazy") return kLazyKind;
  if (name == "needle-grid") return grid_kind(haystack);
  if (name == "ruler") return kAnyRuler;
  if (std::ranges::find(ruler, name) != ruler.end()) return ruler_kind(name);
  if (name == "wikitext") return kWikitextKind;
  if (name == "lambada" || is_one_of(language_task_names(), name)) return kLambadaKind;
  if (is_one_of(recall_task_names(), name)) return kCompletionKind;
  return is_choice(name) ? kChoiceKind : ~TaskKinds{0};
}

void refuse_unread(const CLI::App& command, std::span<const TaskOption> table,
                   const std::vector<std::string>& tasks, const std::string& haystack) {
  TaskKinds kinds = 0;
  for (const std::string& task : tasks) kinds |= kinds_of(task, haystack);
  for (const TaskOption& option : table) {
    const bool is_read = (readers_of(table, option.flag) & kinds) != 0;
    HYPENET_CHECK(is_read || command.count(option.flag) == 0, option.flag, ": has no effect on ",
                  joined(tasks), ": it is read by ", option.read_by);
  }
}

Json settings_of_task(std::span<const TaskOption> table, const std::string& task,
                      const std::string& haystack) {
  Json settings = Json::object();
  const TaskKinds kinds = kinds_of(task, haystack);
  for (const TaskOption& option : table) {
    if (option.key != nullptr && (option.readers & kinds) != 0) settings[option.key] = option.value;
  }
  return settings;
}

}  // namespace hypenet
