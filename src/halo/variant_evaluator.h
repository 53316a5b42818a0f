// Answers requests with the teacher and all its variants: what eval/evaluator.h does for one model.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/json.h"
#include "eval/journal.h"
#include "eval/request.h"
#include "halo/variants.h"
#include "text/tokenizer.h"

namespace hypenet {

struct VariantEvaluatorOptions {
  int64_t batch_tokens = 0;            // of a scoring batch; 0: chosen by device
  int64_t memory_bytes = 0;            // as VariantGenerator's
  std::vector<int32_t> stop_ids = {};  // that end an answer, beside the tokenizer's EOS
  std::filesystem::path journal = {};  // finished answers, one JSON line each; empty: none is kept
  Json identity = {};                  // of the models; a journal of others is refused
  /// Gets, before anything runs, how many requests were longer than the model reads, if any.
  std::function<void(int64_t)> on_cut = {};
};

class VariantEvaluator {
 public:
  /// The variants and the tokenizer have to outlive it. Throws Error as Journal does.
  VariantEvaluator(LayerVariants& variants, const Tokenizer& tokenizer,
                   VariantEvaluatorOptions options);

  /// answers[variant][request]. Equal requests run once; a batch's answers are in the journal as
  /// soon as a variant has them all (generations), or all variants have (log-likelihoods).
  /// `report(done, total)` counts answers and may throw to stop. Throws Error as encode_request
  /// does, and for numbers that are not finite.
  std::vector<std::vector<EvalAnswer>> answer(std::span<const EvalRequest> requests,
                                              const std::function<void(int64_t, int64_t)>& report);

 private:
  LayerVariants& variants_;
  const Tokenizer& tokenizer_;
  VariantEvaluatorOptions options_;
  std::unique_ptr<Journal> journal_;  // null: none is kept
};

}  // namespace hypenet
