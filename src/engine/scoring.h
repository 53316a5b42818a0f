// What scoring asks of a model: log-probabilities of given tokens, and whether each was the model's
// first choice.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace hypenet {

/// A row of token ids whose tokens from `first_scored` (>= 1) on are predicted from those before
/// them.
struct ScoredRow {
  std::vector<int32_t> ids;
  int64_t first_scored = 1;
};

struct TokenScore {
  float logprob = 0;    // nats, float32 log-softmax over the whole vocabulary
  bool greedy = false;  // the token is the arg max of its position
};

/// One entry a row, one score a scored token.
using RowScores = std::vector<std::vector<TokenScore>>;

/// Places of rows, by batch. Rows that are in none are not scored.
using RowBatches = std::vector<std::vector<size_t>>;

struct ScoreOptions {
  int64_t batch_tokens = 0;        // distinct tokens of a batch; 0: what fills the device
  const RowBatches* batches = {};  // null: all rows, as score_batches puts them together
  /// Sees each row's scores as they come; may throw to stop.
  std::function<void(size_t row, const std::vector<TokenScore>&)> on_row = {};
};

}  // namespace hypenet
