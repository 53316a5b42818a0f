// What a finished conversion is measured on: held-out perplexity, recall over context length, bytes
// of cache.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/json.h"
#include "engine/engine.h"
#include "halo/recipe.h"
#include "text/tokenizer.h"

namespace hypenet {

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

/// Measures the model on held-out token ids. `report(done, total)` counts its parts and may throw
/// to stop.
Evaluation evaluate(Engine& engine, const Tokenizer& tokenizer,
                    const std::vector<int32_t>& held_out, const EvaluateConfig& config,
                    uint64_t seed, const std::function<void(int64_t, int64_t)>& report);

}  // namespace hypenet
