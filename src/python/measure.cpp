// All of it runs on the engine's thread; what is generated waits until no other answer is under
// way.
#include "python/measure.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <sstream>

#include "base/error.h"
#include "base/version.h"
#include "engine/engine.h"
#include "eval/encode.h"
#include "eval/evaluator.h"
#include "eval/respondent.h"
#include "eval/results.h"
#include "eval/task.h"

namespace hypenet {
namespace {

/// Leaves the engine's work; whoever stopped it knows why.
void check_goes_on(const Stopped& stopped) { HYPENET_CHECK(!stopped(), "stopped"); }

ScoredRow row_of(const LoadedModel& model, const std::pair<Prompt, Prompt>& pair) {
  const auto* const context = std::get_if<std::string>(&pair.first);
  const auto* const continuation = std::get_if<std::string>(&pair.second);
  HYPENET_CHECK(
      (context == nullptr) == (continuation == nullptr),
      "score: expected context and continuation both as text or both as token ids, found ",
      "one of each");
  if (context != nullptr) {
    const EvalRequest request{.context = *context, .continuation = *continuation};
    return encode_request(model.text()->tokenizer(), request, model.about().made_for).parts.at(0);
  }
  ScoredRow row{std::get<std::vector<int32_t>>(pair.first)};
  row.first_scored = std::ssize(row.ids);
  const auto& scored = std::get<std::vector<int32_t>>(pair.second);
  HYPENET_CHECK(!row.ids.empty() && !scored.empty(),
                "score: expected token ids of context and continuation, found none");
  row.ids.insert(row.ids.end(), scored.begin(), scored.end());
  return row;
}

bool has_generation(const std::vector<const EvalRequest*>& requests) {
  return std::ranges::any_of(
      requests, [](const EvalRequest* request) { return request->kind == RequestKind::kGenerate; });
}

std::vector<EvalAnswer> answer(LoadedModel& model, const std::vector<const EvalRequest*>& requests,
                               const AnswerSettings& settings, const OnAnswered& on_answered,
                               const WhileWaiting& meanwhile) {
  const EvaluatorOptions options{.max_length = settings.max_length,
                                 .sums_in_bf16 = settings.sums_in_bf16,
                                 .stop_ids = model.text()->stop_ids(false)};
  std::vector<EvalAnswer> answers;
  const auto work = [&](Engine& engine, const Stopped& stopped) {
    ModelRespondent respondent(engine, settings.batch_tokens);
    Evaluator evaluator(respondent, model.text()->tokenizer(), options);
    const auto report = [&](const EvaluationProgress& now) {
      check_goes_on(stopped);
      if (on_answered) on_answered(now.done(), now.total());
    };
    answers = std::move(evaluator.answer(requests, report).front());
  };
  model.run(has_generation(requests), work, meanwhile);
  return answers;
}

std::vector<Task> tasks_of(const LoadedModel& model, const TaskSettings& settings) {
  HYPENET_CHECK(!settings.tasks.empty(), "tasks: expected names of tasks, found none");
  TaskOptions options{.data = settings.data,
                      .limit = settings.limit,
                      .shots = settings.shots,
                      .version = settings.task_version,
                      .lengths = settings.lengths,
                      .samples = settings.samples,
                      .seed = static_cast<uint64_t>(settings.seed)};
  options.ruler_as_harness = settings.ruler_as_harness;
  options.tokenizer = &model.text()->tokenizer();
  return load_tasks(settings.tasks, options);
}

Json config_of(const LoadedModel& model, const TaskSettings& settings) {
  const int64_t length = settings.answers.max_length;
  return {{"model", "hypenet"},
          {"model_args", model.about().folder.string()},
          {"device", model.about().device},
          {"dtype", model.about().type},
          {"ll_dtype", settings.answers.sums_in_bf16 ? "bf16" : "float32"},
          {"max_length", length > 0 ? length : model.about().made_for},
          {"tasks", settings.tasks},
          {"lengths", settings.lengths},
          {"limit", settings.limit > 0 ? Json(settings.limit) : Json(nullptr)},
          {"num_fewshot", settings.shots ? Json(*settings.shots) : Json(nullptr)}};
}

/// The lines of sample_lines as values.
void add_samples(const std::string& lines, Json& samples) {
  std::istringstream in(lines);
  for (std::string line; std::getline(in, line);) samples.push_back(parse_json(line, "sample"));
}

}  // namespace

PairScores score_pairs(LoadedModel& model, const std::vector<std::pair<Prompt, Prompt>>& pairs,
                       const WhileWaiting& meanwhile) {
  std::vector<ScoredRow> rows;
  rows.reserve(pairs.size());
  for (const auto& pair : pairs) rows.push_back(row_of(model, pair));
  PairScores scores{std::vector<double>(rows.size()), std::vector<bool>(rows.size())};
  const auto work = [&](Engine& engine, const Stopped& stopped) {
    const auto on_row = [&](size_t row, const std::vector<TokenScore>& tokens) {
      check_goes_on(stopped);
      double sum = 0;
      bool is_greedy = true;
      for (const TokenScore& token : tokens) sum += token.logprob, is_greedy &= token.greedy;
      HYPENET_CHECK(std::isfinite(sum),
                    "score: log-likelihood of a pair: expected a finite number, found ", sum);
      scores.loglikelihoods[row] = sum, scores.greedy[row] = is_greedy;
    };
    engine.score(rows, {.on_row = on_row});
  };
  if (!rows.empty()) model.run(false, work, meanwhile);
  return scores;
}

std::vector<EvalAnswer> answer_requests(LoadedModel& model,
                                        const std::vector<EvalRequest>& requests,
                                        const AnswerSettings& settings,
                                        const OnAnswered& on_answered,
                                        const WhileWaiting& meanwhile) {
  if (requests.empty()) return {};
  return answer(model, addresses_of(requests), settings, on_answered, meanwhile);
}

Json evaluate_tasks(LoadedModel& model, const TaskSettings& settings, const OnAnswered& on_answered,
                    const WhileWaiting& meanwhile) {
  const auto start = std::chrono::steady_clock::now();
  const std::vector<Task> tasks = tasks_of(model, settings);
  const auto answers = answer(model, requests_of(tasks), settings.answers, on_answered, meanwhile);
  std::vector<TaskResult> results;
  Json samples = Json::array();
  score_tasks(tasks, answers, [&](const Task& task, auto own, TaskScores scores) {
    if (settings.logs_samples) add_samples(sample_lines(task, own, scores.items), samples);
    results.push_back(std::move(scores.result));
  });
  Json json = results_json(results, group_results(results));
  json["config"] = config_of(model, settings);
  json["git_hash"] = source_commit();
  json["version"] = version();
  json["total_evaluation_time_seconds"] =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (settings.logs_samples) json["samples"] = std::move(samples);
  return json;
}

}  // namespace hypenet
