// What an evaluation found: tasks and their groups, as a table and as the harness's results.json.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "eval/request.h"
#include "eval/task.h"
#include "report/table.h"

namespace hypenet {

/// One line of results: a task, or a group of them.
struct TaskResult {
  std::string name = {};
  std::string group = {};            // as Task::group
  std::vector<std::string> of = {};  // of a group: its tasks
  size_t whole = 0;                  // of a group: how many tasks it has when all of them ran
  int64_t version = 0, shots = 0;
  int64_t count = 0;  // items
  std::vector<Metric> metrics = {};
  Json settings = nullptr;  // how it was measured, by name; null: unknown
};

/// The result of a task, and `items` the scores of each item, from one answer a request, in the
/// order of items and their requests.
struct TaskScores {
  TaskResult result = {};
  std::vector<ItemScores> items = {};
};
TaskScores score_task(const Task& task, std::span<const EvalAnswer> answers);

/// The requests of all tasks' items, in their order; the tasks must outlive them.
std::vector<const EvalRequest*> requests_of(std::span<const Task> tasks);

/// score_task of each task by its part of the answers to requests_of(tasks), which `take` gets.
using TakeScores =
    std::function<void(const Task& task, std::span<const EvalAnswer> answers, TaskScores scores)>;
void score_tasks(std::span<const Task> tasks, std::span<const EvalAnswer> answers,
                 const TakeScores& take);

/// Averages over at least two tasks: mmlu, and those of its categories that are complete, weighted
/// by items, with the harness's pooled standard error; "ruler/4096" and the like, tasks counting
/// alike, by the harness's metrics (score/harness) and by RULER's own (score/ruler). mmlu and ruler
/// may be partial.
std::vector<TaskResult> group_results(std::span<const TaskResult> tasks);

/// task, version, shots, metric, value, error, n: a row a metric. A partial group says so.
Table results_table(std::span<const TaskResult> tasks, std::span<const TaskResult> groups);

/// results, groups, group_subtasks, versions, n-shot, n-samples in the harness's shape
/// ("acc,none", "acc_stderr,none"), and task_settings. Partial groups are left out: their names
/// promise all tasks.
Json results_json(std::span<const TaskResult> tasks, std::span<const TaskResult> groups);

/// The task's items as JSON lines: task, number and id of the item, what was right, requests,
/// answers, and the item's metrics. `answers` and `items` as in score_task.
std::string sample_lines(const Task& task, std::span<const EvalAnswer> answers,
                         std::span<const ItemScores> items);

}  // namespace hypenet
