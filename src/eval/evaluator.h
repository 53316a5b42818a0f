// Answers requests with a model: equal ones run once, log-likelihoods share the tokens that their
// rows begin with (engine/score.h), what is long runs first, and finished answers are kept in a
// file that a later run reads.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/json.h"
#include "engine/engine.h"
#include "eval/encode.h"
#include "eval/journal.h"
#include "eval/request.h"
#include "text/tokenizer.h"

namespace hypenet {

struct EvaluatorOptions {
  int64_t max_length = 0;     // tokens of a row at most; 0: the model's max_position_embeddings
  int64_t batch_tokens = 0;   // tokens of a scoring batch; 0: chosen by device
  bool sums_in_bf16 = false;  // --ll-dtype bf16: log-softmax and sum rounded as the reference's
  std::vector<int32_t> stop_ids = {};  // that end an answer, beside the tokenizer's EOS
  std::filesystem::path journal = {};  // finished answers, one JSON line each; empty: none is kept
  Json identity = {};                  // of the model; a journal of another one is refused
};

struct EvaluationProgress {
  int64_t done = 0, total = 0;  // requests; equal ones count once
  int64_t tokens_done = 0, tokens_total = 0;
  int64_t cut = 0;  // requests whose context lost its beginning: it was longer than the model reads
};

class Evaluator {
 public:
  /// Throws Error as Journal does. On a GPU the first generation takes the engine's memory, so what
  /// is scored should be asked for first.
  Evaluator(Engine& engine, const Tokenizer& tokenizer, EvaluatorOptions options);

  /// One answer a request, in their order. `report` is called often, with zeros while requests
  /// become tokens, and may throw to stop; finished answers are then in the journal. Throws Error
  /// as encode_request does, and for logits that are not finite.
  std::vector<EvalAnswer> answer(std::span<const EvalRequest> requests,
                                 const std::function<void(const EvaluationProgress&)>& report);

  /// Tokens of a row at most, as chosen.
  int64_t max_length() const { return options_.max_length; }

 private:
  Engine& engine_;
  const Tokenizer& tokenizer_;
  EvaluatorOptions options_;
  std::unique_ptr<Journal> journal_;  // null: none is kept
};

}  // namespace hypenet
