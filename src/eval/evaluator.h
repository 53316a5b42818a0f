// Answers requests with a model: equal ones run once, log-likelihoods share the tokens that their
// rows begin with (engine/score.h), what is long runs first, and finished answers are kept in a
// file that a later run reads.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "engine/engine.h"
#include "eval/request.h"
#include "text/tokenizer.h"

namespace hypenet {

struct EvaluatorOptions {
  int64_t max_length = 0;     // tokens of a row at most; 0: the model's max_position_embeddings
  int64_t batch_tokens = 0;   // tokens of a scoring batch; 0: chosen by device
  bool sums_in_bf16 = false;  // --ll-dtype bf16: log-softmax and sum rounded as the reference's
  std::filesystem::path journal = {};  // finished answers, one JSON line each; empty: none is kept
  Json identity = {};                  // of the model; a journal of another one is refused
};

/// A request as tokens. kGenerate: `row.ids` is the prompt. `parts`: rolling windows, or one.
struct EncodedRequest {
  std::vector<ScoredRow> parts = {};
  std::vector<int32_t> prompt = {};
};

/// Specification "evaluation", 1: context's trailing space moves, cut on the left, windows of
/// max_length. Throws Error when a request leaves nothing to score.
EncodedRequest encode_request(const Tokenizer& tokenizer, const EvalRequest& request,
                              int64_t max_length);

/// The decoded answer, cut at the first of each stop string in turn.
std::string cut_answer(std::string text, std::span<const std::string> until);

struct EvaluationProgress {
  int64_t done = 0, total = 0;  // requests
  int64_t tokens_done = 0, tokens_total = 0;
};

class Evaluator {
 public:
  Evaluator(Engine& engine, const Tokenizer& tokenizer, EvaluatorOptions options);

  /// One answer a request, in their order. `report` may throw to stop; finished answers are then in
  /// the journal.
  std::vector<EvalAnswer> answer(std::span<const EvalRequest> requests,
                                 const std::function<void(const EvaluationProgress&)>& report);

 private:
  Engine& engine_;
  const Tokenizer& tokenizer_;
  EvaluatorOptions options_;
};

}  // namespace hypenet
