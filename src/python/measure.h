// Measuring an open model: log-likelihoods of pairs, the harness's requests, and tasks.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "eval/request.h"
#include "python/loaded_model.h"
#include "python/requests.h"

namespace hypenet {

/// Sees how many of all requests are answered, on the engine's thread.
using OnAnswered = std::function<void(int64_t done, int64_t total)>;

struct PairScores {
  std::vector<double> loglikelihoods = {};  // nats, summed over the continuation's tokens
  std::vector<bool> greedy = {};            // each of them was the first choice
};

/// Log-likelihoods of continuations after contexts, each text or token ids (both of a pair alike).
/// Texts are split into tokens as the harness does (eval/encode.h); an empty context is BOS, else
/// EOS. Rows that begin alike share those tokens. Throws Error as encode_request and Engine::score.
PairScores score_pairs(LoadedModel& model, const std::vector<std::pair<Prompt, Prompt>>& pairs,
                       const WhileWaiting& meanwhile);

struct AnswerSettings {
  int64_t max_length = 0;  // tokens of a row at most; 0: what the model was made for
  int64_t batch_tokens = 0;
  bool sums_in_bf16 = false;
};

/// The requests of lm-evaluation-harness (eval/evaluator.h), in their order. Throws Error as
/// Evaluator::answer does.
std::vector<EvalAnswer> answer_requests(LoadedModel& model,
                                        const std::vector<EvalRequest>& requests,
                                        const AnswerSettings& settings,
                                        const OnAnswered& on_answered,
                                        const WhileWaiting& meanwhile);

/// What `hypenet eval` is told: its flags of the same names.
struct TaskSettings {
  std::vector<std::string> tasks = {};
  std::vector<std::filesystem::path> data = {};
  int64_t limit = 0;
  std::optional<int64_t> shots = {};
  std::vector<int64_t> lengths = {4096};
  int64_t samples = 500, seed = 42, task_version = 0;
  bool ruler_as_harness = false;
  AnswerSettings answers = {};
  bool logs_samples = false;
};

/// results.json of the tasks (docs/evaluation.md, "Results"), with "samples" (an array of objects)
/// where they are asked for. Throws Error as load_tasks and answer_requests do.
Json evaluate_tasks(LoadedModel& model, const TaskSettings& settings, const OnAnswered& on_answered,
                    const WhileWaiting& meanwhile);

}  // namespace hypenet
