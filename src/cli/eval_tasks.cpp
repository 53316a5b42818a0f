// The parts of an evaluation, one after the other: text, recall, and tasks with requests; what is
// scored comes before what is generated, because that takes the engine's memory.
#include <algorithm>
#include <cctype>
#include <iostream>

#include "base/error.h"
#include "cli/eval.h"
#include "cli/length_warning.h"
#include "cli/numbers.h"
#include "eval/encode.h"
#include "eval/measures.h"
#include "eval/own_tasks.h"

namespace hypenet {
namespace {

/// Before anything runs: the answers of own items may be of any length.
void check_answers_fit(const std::vector<Task>& tasks, int64_t max_length) {
  for (const Task& task : tasks) {
    for (const TaskItem& item : task.items) {
      const std::string place = concat(task.name, ": item ", item.id);
      for (const EvalRequest& request : item.requests) {
        if (request.kind == RequestKind::kGenerate) check_answer_fits(place, request, max_length);
      }
    }
  }
}

/// Whether context and continuation meet in the middle of a word.
bool joins_words(const EvalRequest& request) {
  const auto is_letter = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; };
  return !request.context.empty() && !request.continuation.empty() &&
         is_letter(request.context.back()) && is_letter(request.continuation.front());
}

int64_t tokens_read(const EvalCommand& command, const ModelConfig& config) {
  const int64_t chosen = command.measure.max_length;
  return chosen > 0 ? chosen : config.max_position_embeddings;
}

bool has_ruler(const EvalCommand& command) {
  return std::ranges::any_of(
      command.tasks, [](const std::string& name) { return (kinds_of(name) & ~kAnyRuler) == 0; });
}

std::vector<int64_t> recall_contexts(const EvalCommand& command) {
  return command.contexts.empty() ? std::vector<int64_t>{256, 512, 1024, 2048} : command.contexts;
}

RecallOptions recall_options(const EvalCommand& command, int64_t context, int64_t prompts) {
  return {context, command.needles, prompts, static_cast<uint64_t>(command.seed.value_or(0))};
}

}  // namespace

bool EvalCommand::has(const std::string& task) const {
  return std::find(tasks.begin(), tasks.end(), task) != tasks.end();
}

bool EvalCommand::has_requests() const {
  return std::ranges::any_of(
      tasks, [](const std::string& task) { return task != kTextTask && task != kRecallTask; });
}

std::vector<int64_t> grid_contexts(const EvalCommand& command) {
  return command.contexts.empty() ? NeedleGridOptions().contexts : command.contexts;
}

OpenFolder::OpenFolder(const std::filesystem::path& folder)
    : checkpoint(folder),
      config(
          parse_model_config(checkpoint.config(), checkpoint.config_place(), checkpoint.names())),
      tokenizer(open_tokenizer(folder, config)) {}

void check_reads(const char* flag, const std::vector<int64_t>& lengths,
                 const EvalCommand& command) {
  const int64_t most = command.measure.max_length;
  if (most == 0) return;
  for (const int64_t length : lengths) {
    HYPENET_CHECK(length <= most, flag, ": expected at most ", most, " tokens (--max-length), ",
                  "found ", length);
  }
}

void warn_of_lengths(const EvalCommand& command, const ModelConfig& config) {
  std::pair<int64_t, const char*> longest = {command.measure.max_length, "--max-length"};
  const auto add = [&](int64_t tokens, const char* flag) {
    longest = std::max(longest, {tokens, flag}, [](auto a, auto b) { return a.first < b.first; });
  };
  if (command.has(kTextTask)) add(command.context, "--context");
  if (command.has(kRecallTask)) add(std::ranges::max(recall_contexts(command)), "--contexts");
  if (has_ruler(command)) add(std::ranges::max(command.lengths), "--lengths");
  if (command.has(kNeedleGridTask)) add(std::ranges::max(grid_contexts(command)), "--contexts");
  warn_of_length(longest.second, longest.first, config);
}

void check_text_measures(const EvalCommand& command, const std::vector<int32_t>& text,
                         const Tokenizer& tokenizer) {
  if (command.has(kTextTask)) text_rows(text, command.context, 1);
  if (!command.has(kRecallTask)) return;
  const NeedleTask task(tokenizer);
  for (const int64_t context : recall_contexts(command)) {
    recall_rows(task, text, recall_options(command, context, 1));
  }
}

std::vector<Task> load_eval_tasks(const EvalCommand& command, const OpenFolder& folder) {
  std::vector<std::string> names;
  for (const std::string& name : command.tasks) {
    if (name != kTextTask && name != kRecallTask && name != kNeedleGridTask) names.push_back(name);
  }
  if (names.empty()) return {};
  TaskOptions options{.data = command.data,
                      .limit = command.limit.value_or(0),
                      .shots = command.shots,
                      .version = command.task_version,
                      .lengths = command.lengths};
  if (command.samples) options.samples = *command.samples;
  if (command.seed) options.seed = static_cast<uint64_t>(*command.seed);
  options.ruler_as_harness = command.ruler_rule == "harness";
  options.tokenizer = &folder.tokenizer;
  if (has_ruler(command)) check_reads("--lengths", command.lengths, command);
  std::vector<Task> tasks = load_tasks(names, options);
  check_answers_fit(tasks, tokens_read(command, folder.config));
  return tasks;
}

void note_joined_words(const std::vector<Task>& tasks) {
  for (const Task& task : tasks) {
    if (!is_own_task(task.name) || task.scoring != &Scoring::kMultipleChoice) continue;
    const bool joins_all = std::ranges::all_of(task.items, [](const TaskItem& item) {
      return std::ranges::all_of(item.requests, joins_words);
    });
    if (!joins_all) continue;
    std::cerr << "eval: " << task.name << ": every choice goes on with its context's last word; "
              << "\"target_delimiter\": \" \" in an item puts a space between" << std::endl;
  }
}

ScoredTasks run_eval_tasks(const EvalCommand& command, const std::vector<Task>& tasks,
                           MeasuredModel& model) {
  if (tasks.empty()) return {};
  const std::vector<EvalAnswer> answers = model.answer(requests_of(tasks));
  ScoredTasks found;
  score_tasks(tasks, answers, [&](const Task& task, auto own, TaskScores scores) {
    if (command.log_samples) found.samples += sample_lines(task, own, scores.items);
    found.results.push_back(std::move(scores.result));
  });
  return found;
}

std::vector<TaskResult> run_text_measures(const EvalCommand& command,
                                          const std::vector<int32_t>& text,
                                          const Tokenizer& tokenizer, MeasuredModel& model) {
  std::vector<TaskResult> results;
  if (command.has(kTextTask)) {
    const auto rows =
        static_cast<int64_t>(text_rows(text, command.context, command.windows).size());
    const TextMeasure measure =
        measure_text(model.engine(), model.ranks(), text, command.context, command.windows,
                     model.score_options("windows of text", rows));
    TaskResult& result = results.emplace_back();
    result.name = concat(kTextTask, "/", command.context);
    result.count = measure.windows;
    result.metrics = {{.name = "perplexity", .value = measure.perplexity},
                      {.name = "next_token_accuracy", .value = measure.next_token_accuracy}};
  }
  if (!command.has(kRecallTask)) return results;
  const NeedleTask task(tokenizer);
  for (const int64_t context : recall_contexts(command)) {
    const RecallOptions options = recall_options(command, context, command.prompts);
    const auto what = concat("recall prompts of ", readable_tokens(context), " tokens");
    const RecallMeasure measure = measure_recall(model.engine(), model.ranks(), task, text, options,
                                                 model.score_options(what, command.prompts));
    TaskResult& result = results.emplace_back();
    result.name = concat(kRecallTask, "/", context);
    result.count = command.prompts;
    result.metrics = {{.name = "exact", .value = measure.share, .error = measure.error}};
  }
  return results;
}

}  // namespace hypenet
