// The data sets hold whole prompts; the answer is a line that must contain a value.
#include "eval/recall_tasks.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/error.h"
#include "eval/data_files.h"
#include "eval/python/python_text.h"

namespace hypenet {
namespace {

constexpr int64_t kMaxTokens = 48;

struct RecallTask {
  const char* name;
  const char* dataset;
  const char* stop;
  const char* about;
};

// The harness means squad_completion to stop at a line's end too, but its default of two wins.
constexpr std::array<RecallTask, 3> kTasks = {
    {{"fda", "hazyresearch/based-fda", "\n", "a value out of an FDA report"},
     {"swde", "hazyresearch/based-swde-v2", "\n", "a value out of a web page"},
     {"squad_completion", "hazyresearch/based-squad", "\n\n",
      "a sentence completed from its paragraph"}}};

TaskItem read_item(const Json& record, const char* stop, int64_t version) {
  std::string prompt = text_field(record, "text"), value = text_field(record, "value");
  if (version == 1) {
    prompt = std::string(strip(prompt));
    value = std::string(strip(value));
  }
  TaskItem item{.id = id_field(record, {"doc_id", "id"})};
  item.requests = {{.kind = RequestKind::kGenerate,
                    .context = std::move(prompt),
                    .until = {stop},
                    .max_tokens = kMaxTokens}};
  item.references = {std::move(value)};
  return item;
}

}  // namespace

std::vector<TaskName> recall_task_names() {
  std::vector<TaskName> names;
  names.reserve(kTasks.size());
  for (const RecallTask& task : kTasks) names.push_back({task.name, task.about});
  return names;
}

Task load_recall_task(std::string_view name, const TaskOptions& options) {
  const auto* definition =
      std::ranges::find_if(kTasks, [&](const RecallTask& task) { return task.name == name; });
  HYPENET_CHECK(options.version == 0 || options.version == 1, name,
                ": expected version 0 or 1, found ", options.version);
  DataFiles files{.dataset = definition->dataset, .hub = hub_paths({}, "validation")};
  files.others = {concat(name, "/validation.jsonl"), concat(name, ".jsonl")};
  Task task{.name = std::string(name), .version = options.version, .scoring = &Scoring::kContains};
  const auto found = find_data(files, options.data, name);
  for_each_record(found, options.limit, [&](const Json& record) {
    task.items.push_back(read_item(record, definition->stop, options.version));
    if (task.items.back().id.empty()) task.items.back().id = std::to_string(task.items.size() - 1);
  });
  HYPENET_CHECK(!task.items.empty(), name, ": expected documents in ", found.front().string(),
                ", found none");
  return task;
}

}  // namespace hypenet
