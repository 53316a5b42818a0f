// Answers requests with a model or its variants: equal ones run once, log-likelihoods share the
// tokens that their rows begin with (engine/score.h), what is long runs first, and finished answers
// are kept in a file that a later run reads.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/json.h"
#include "eval/encode.h"
#include "eval/journal.h"
#include "eval/request.h"
#include "eval/shared.h"
#include "text/tokenizer.h"

namespace hypenet {

struct EvaluatorOptions {
  int64_t max_length = 0;     // tokens of a row at most; 0: what the model was made for
  bool sums_in_bf16 = false;  // --ll-dtype bf16: log-softmax and sum rounded as the reference's
  std::vector<int32_t> stop_ids = {};  // that end an answer, beside the tokenizer's EOS
  std::filesystem::path journal = {};  // finished answers, one JSON line each; empty: none is kept
  Json identity = {};                  // of model and settings; a journal of another one is refused
  /// All of which make the same calls and get all answers; the first one keeps the journal.
  std::shared_ptr<Communicator> ranks = std::make_shared<OneProcess>();
};

/// Answers of all variants; equal requests count once.
struct KindProgress {
  int64_t done = 0, total = 0;
  int64_t tokens_done = 0, tokens_total = 0;
  int64_t cut = 0;  // requests whose context lost its beginning: it was longer than the model reads
};

struct EvaluationProgress {
  KindProgress scored, generated;  // log-likelihoods, which come first, and answers
  int64_t cut = 0;                 // as KindProgress::cut, equal requests counted each

  int64_t done() const { return scored.done + generated.done; }
  int64_t total() const { return scored.total + generated.total; }
};

class Evaluator {
 public:
  /// Respondent and tokenizer have to outlive it. Throws Error as Journal does.
  Evaluator(Respondent& respondent, const Tokenizer& tokenizer, EvaluatorOptions options);

  using Report = std::function<void(const EvaluationProgress&)>;

  /// [variant][request]. `report` is called often, with zeros while requests become tokens, and may
  /// throw to stop; finished answers are then in the journal. Throws Error as encode_request does,
  /// and for logits that are not finite.
  std::vector<std::vector<EvalAnswer>> answer(std::span<const EvalRequest* const> requests,
                                              const Report& report);
  std::vector<std::vector<EvalAnswer>> answer(std::span<const EvalRequest> requests,
                                              const Report& report);

  /// Tokens of a row at most, as chosen.
  int64_t max_length() const { return options_.max_length; }

 private:
  EvaluatorOptions options_;
  SharedRespondent respondent_;
  const Tokenizer& tokenizer_;
  std::unique_ptr<Journal> journal_;  // null: none is kept
};

}  // namespace hypenet
