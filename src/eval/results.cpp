// Groups average as the harness does; the shape of the file is its own too.
#include "eval/results.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <map>
#include <set>

#include "base/error.h"
#include "eval/mmlu.h"
#include "eval/ruler/ruler.h"

namespace hypenet {
namespace {

constexpr const char* kRuler = "ruler";
constexpr const char* kMmlu = "mmlu";

std::vector<std::string> names_of(std::span<const TaskResult> tasks) {
  std::vector<std::string> names;
  names.reserve(tasks.size());
  for (const TaskResult& task : tasks) names.push_back(task.name);
  return names;
}

/// The mean of the first metrics, each item counting once, and the error pooled over the tasks.
TaskResult micro_average(const std::string& name, std::span<const TaskResult> tasks) {
  TaskResult group{.name = name, .of = names_of(tasks), .whole = mmlu_group(name).size()};
  group.version = tasks.front().version, group.shots = tasks.front().shots;
  double sum = 0, squares = 0;
  bool has_error = true;
  for (const TaskResult& task : tasks) {
    const auto n = static_cast<double>(task.count);
    const Metric& metric = task.metrics.front();
    group.count += task.count;
    sum += n * metric.value;
    has_error &= metric.error.has_value();
    if (metric.error) squares += (n - 1) * n * *metric.error * *metric.error;
  }
  const auto n = static_cast<double>(group.count);
  Metric metric{.name = tasks.front().metrics.front().name, .value = sum / n};
  if (has_error && group.count > static_cast<int64_t>(tasks.size())) {
    metric.error = std::sqrt(squares / (n - static_cast<double>(tasks.size())) / n);
  }
  group.metrics = {metric};
  return group;
}

/// The unweighted mean of RULER's tasks of one length.
TaskResult ruler_average(const std::string& name, std::span<const TaskResult> tasks) {
  TaskResult group{.name = name, .of = names_of(tasks), .whole = ruler_task_names().size()};
  group.version = tasks.front().version, group.shots = tasks.front().shots;
  double harness = 0, ruler = 0;
  for (const TaskResult& task : tasks) {
    group.count += task.count;
    harness += task.metrics.front().value;  // all or part/harness
    ruler += task.metrics.back().value;     // all or part/ruler
  }
  const auto n = static_cast<double>(tasks.size());
  group.metrics = {{.name = "score/harness", .value = harness / n},
                   {.name = "score/ruler", .value = ruler / n}};
  return group;
}

std::vector<TaskResult> members(std::span<const TaskResult> tasks,
                                const std::vector<std::string>& names) {
  const std::set<std::string> wanted(names.begin(), names.end());
  std::vector<TaskResult> found;
  for (const TaskResult& task : tasks) {
    if (wanted.contains(task.name)) found.push_back(task);
  }
  return found;
}

bool is_partial(const TaskResult& result) { return result.of.size() < result.whole; }

void add_rows(Table& table, const TaskResult& result) {
  const bool is_group = !result.of.empty();
  std::string name = result.name;
  if (is_partial(result)) {
    name += fmt::format(" (mean of {} of its {} tasks)", result.of.size(), result.whole);
  } else if (is_group) {
    name += fmt::format(" (mean of {} tasks)", result.of.size());
  }
  for (const Metric& metric : result.metrics) {
    const bool is_first = &metric == result.metrics.data();
    table.rows.push_back({is_first ? name : "", is_first ? std::to_string(result.version) : "",
                          is_first ? std::to_string(result.shots) : "", metric.name,
                          fmt::format("{:.4f}", metric.value),
                          metric.error ? fmt::format("± {:.4f}", *metric.error) : "",
                          is_first ? std::to_string(result.count) : ""});
  }
}

Json metrics_json(const TaskResult& result) {
  Json json = {{"alias", result.name}};
  for (const Metric& metric : result.metrics) {
    json[metric.name + ",none"] = metric.value;
    json[metric.name + "_stderr,none"] = metric.error ? Json(*metric.error) : Json("N/A");
  }
  return json;
}

Json request_json(const EvalRequest& request) {
  switch (request.kind) {
    case RequestKind::kLoglikelihood:
      return Json::array({request.context, request.continuation});
    case RequestKind::kRolling:
      return Json::array({request.context});
    case RequestKind::kGenerate:
      break;
  }
  const Json options = {{"until", request.until}, {"max_gen_toks", request.max_tokens}};
  return Json::array({request.context, options});
}

Json answer_json(const EvalRequest& request, const EvalAnswer& answer) {
  switch (request.kind) {
    case RequestKind::kLoglikelihood:
      return Json::array({answer.loglikelihood, answer.is_greedy});
    case RequestKind::kRolling:
      return answer.loglikelihood;
    case RequestKind::kGenerate:
      break;
  }
  return answer.text;
}

Json sample_json(const Task& task, size_t item, std::span<const EvalAnswer> answers,
                 const ItemScores& scores) {
  const TaskItem& document = task.items[item];
  Json arguments = Json::array(), responses = Json::array();
  for (size_t i = 0; i < document.requests.size(); ++i) {
    arguments.push_back(request_json(document.requests[i]));
    responses.push_back(answer_json(document.requests[i], answers[i]));
  }
  Json json = {{"task", task.name}, {"doc_id", item}, {"id", document.id}};
  if (document.gold >= 0) json["target"] = document.gold;
  if (!document.references.empty()) json["target"] = document.references;
  json["arguments"] = std::move(arguments);
  json["resps"] = std::move(responses);
  const auto names = task.scoring->metrics;
  for (size_t i = 0; i < names.size(); ++i) json[names[i]] = scores[i];
  return json;
}

}  // namespace

TaskScores score_task(const Task& task, std::span<const EvalAnswer> answers) {
  TaskScores scores;
  scores.items.reserve(task.items.size());
  size_t at = 0;
  for (const TaskItem& item : task.items) {
    HYPENET_CHECK(at + item.requests.size() <= answers.size(), task.name,
                  ": expected an answer a request, found ", answers.size(), " answers");
    scores.items.push_back(task.scoring->score(item, answers.subspan(at, item.requests.size())));
    at += item.requests.size();
  }
  scores.result = {.name = task.name,
                   .group = task.group,
                   .of = {},
                   .whole = 0,
                   .version = task.version,
                   .shots = task.shots,
                   .count = static_cast<int64_t>(task.items.size()),
                   .metrics = summarize(task, scores.items)};
  return scores;
}

std::vector<const EvalRequest*> requests_of(std::span<const Task> tasks) {
  std::vector<const EvalRequest*> requests;
  for (const Task& task : tasks) {
    for (const TaskItem& item : task.items) {
      std::ranges::copy(addresses_of(item.requests), std::back_inserter(requests));
    }
  }
  return requests;
}

void score_tasks(std::span<const Task> tasks, std::span<const EvalAnswer> answers,
                 const TakeScores& take) {
  size_t at = 0;
  for (const Task& task : tasks) {
    const size_t begin = at;
    for (const TaskItem& item : task.items) at += item.requests.size();
    const auto own = answers.subspan(begin, at - begin);
    take(task, own, score_task(task, own));
  }
}

std::vector<TaskResult> group_results(std::span<const TaskResult> tasks) {
  std::vector<TaskResult> groups, mmlu;
  std::map<int64_t, std::vector<TaskResult>> ruler;  // by length
  for (const TaskResult& task : tasks) {
    if (task.group == kMmlu) mmlu.push_back(task);
    if (task.group == kRuler)
      ruler[std::stoll(task.name.substr(task.name.find('/') + 1))].push_back(task);
  }
  if (mmlu.size() > 1) groups.push_back(micro_average(kMmlu, mmlu));
  for (const TaskName& category : mmlu_group_names()) {
    const auto names = mmlu_group(category.name);
    const auto found = members(mmlu, names);
    const bool is_whole = found.size() == names.size();
    if (category.name != kMmlu && is_whole) groups.push_back(micro_average(category.name, found));
  }
  for (const auto& [length, found] : ruler) {
    if (found.size() < 2) continue;
    groups.push_back(ruler_average(concat(kRuler, "/", length), found));
  }
  return groups;
}

Table results_table(std::span<const TaskResult> tasks, std::span<const TaskResult> groups) {
  Table table{{"task", "version", "shots", "metric", "value", "error", "n"}, {}};
  for (const TaskResult& task : tasks) add_rows(table, task);
  for (const TaskResult& group : groups) add_rows(table, group);
  return table;
}

Json results_json(std::span<const TaskResult> tasks, std::span<const TaskResult> groups) {
  Json json = {{"results", Json::object()}};
  const auto add = [&](const TaskResult& result) {
    json["results"][result.name] = metrics_json(result);
    if (!result.of.empty()) {
      json["groups"][result.name] = metrics_json(result);
      json["group_subtasks"][result.name] = result.of;
    }
    json["versions"][result.name] = result.version;
    json["n-shot"][result.name] = result.shots;
    json["n-samples"][result.name] = {{"original", result.count}, {"effective", result.count}};
    if (!result.settings.is_null()) json["task_settings"][result.name] = result.settings;
  };
  for (const TaskResult& task : tasks) add(task);
  for (const TaskResult& group : groups) {
    if (!is_partial(group)) add(group);
  }
  return json;
}

std::string sample_lines(const Task& task, std::span<const EvalAnswer> answers,
                         std::span<const ItemScores> items) {
  std::string lines;
  size_t at = 0;
  for (size_t i = 0; i < task.items.size(); ++i) {
    const size_t count = task.items[i].requests.size();
    const Json line = sample_json(task, i, answers.subspan(at, count), items[i]);
    lines += line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
    at += count;
  }
  return lines;
}

}  // namespace hypenet
