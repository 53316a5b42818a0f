// What a finished model is measured on: held-out perplexity, recall over context length, bytes
// of cache.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/json.h"
#include "eval/measures.h"
#include "run/run.h"
#include "text/tokenizer.h"

namespace hypenet {

/// What models are measured on at the end of a run.
struct EvaluateConfig {
  int64_t context = 512;          // tokens of a window for perplexity
  int64_t windows = 64;           // how many
  std::vector<int64_t> contexts;  // lengths of recall prompts; empty: no recall is measured
  int64_t needles = 4;
  int64_t prompts = 48;
  template <class Visitor>
  void visit(Visitor&& field) {
    field("context", context);
    field("windows", windows);
    field("contexts", contexts);
    field("needles", needles);
    field("prompts", prompts);
  }
};

struct RecallPoint {
  int64_t context = 0;
  double share = 0, error = 0;  // exact answers, and the standard error of that share
  template <class Visitor>
  void visit(Visitor&& field) {
    field("context", context);
    field("share", share);
    field("error", error);
  }
};

struct CacheBytes {
  int64_t context = 0, bytes = 0;  // of one sequence of so many tokens
  template <class Visitor>
  void visit(Visitor&& field) {
    field("context", context);
    field("bytes", bytes);
  }
};

/// One model's measurements.
struct Evaluation {
  int64_t context = 0;  // of the windows for perplexity
  double perplexity = 0, next_token_accuracy = 0;
  std::vector<RecallPoint> recall;
  std::vector<CacheBytes> cache;
  template <class Visitor>
  void visit(Visitor&& field) {
    field("context", context);
    field("perplexity", perplexity);
    field("next_token_accuracy", next_token_accuracy);
    field("recall", recall);
    field("cache", cache);
  }
};

/// Text windows and recall prompts of one length, made of held-out text.
struct HeldOutUse {
  std::string place;
  int64_t context = 0, windows = 0;
  RecallOptions recall = {};  // of no prompts: none
};

/// Throws Error for held-out text that they cannot be made from. What they make of a short text is
/// noted.
void check_use(const HeldOutUse& use, const Tokenizer& tokenizer,
               const std::vector<int32_t>& held_out, const RunOptions& options);

/// The same for an evaluation.
void check_evaluation(const EvaluateConfig& config, const Tokenizer& tokenizer,
                      const std::vector<int32_t>& held_out, const RunOptions& options);

/// What models are measured with.
struct EvaluationInputs {
  const EvaluateConfig& config;
  const Tokenizer& tokenizer;
  const std::vector<int32_t>& held_out;
  uint64_t seed = 0;
};

/// Measures the model in this folder, all ranks together; reports call it `name`. Throws
/// Interrupted when stopped.
Evaluation evaluate(const std::filesystem::path& folder, const std::string& name,
                    const EvaluationInputs& inputs, const RunOptions& options);

}  // namespace hypenet
