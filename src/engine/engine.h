// The engine: token ids in, token ids or scores out. One model, one thread.
#pragma once

#include <torch/torch.h>

#include <functional>
#include <span>
#include <vector>

#include "engine/sampling.h"
#include "engine/scoring.h"
#include "model/causal_lm.h"
#include "model/decode_state.h"

namespace hypenet {

struct GenerateOptions {
  int64_t max_tokens = 128;
  SamplingOptions sampling;
  std::vector<int32_t> stop_ids;  // generation ends before any of these
  int64_t prefill_chunk = 2048;   // tokens of the prompt a forward
};

/// Runs a model for inference: gradients off, logits scaling as the model's config says.
class Engine {
 public:
  /// Takes the model as it is (its device and parameter type stay).
  explicit Engine(CausalLm model);

  const ModelConfig& config() const;

  /// Scores rows, in batches of at most `batch_tokens` tokens (a single longer row runs alone);
  /// equal results for any batching within rounding. Only scored positions reach the head. Throws
  /// Error for a row without scored tokens or an id outside the vocabulary.
  RowScores score(std::span<const ScoredRow> rows, int64_t batch_tokens = 8192);

  /// Prefill, then decode one token at a time. `on_token` sees each id as it comes and may return
  /// false to stop. Throws Error for an empty prompt or an id outside the vocabulary.
  std::vector<int32_t> generate(std::span<const int32_t> prompt, const GenerateOptions& options,
                                const std::function<bool(int32_t)>& on_token = {});

 private:
  /// Logits [V] after the last of `ids`, which the state takes in.
  torch::Tensor advance(std::span<const int32_t> ids, int64_t chunk, DecodeState& state);

  CausalLm model_;
};

}  // namespace hypenet
