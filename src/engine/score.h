// Scoring rows by one model, or by several variants of it that share work (the layer sweep).
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include <functional>
#include <span>
#include <vector>

#include "engine/scoring.h"
#include "model/causal_lm.h"

namespace hypenet {

/// Given the tree of a batch's rows, calls `emit` with the final hidden states [1, N, D] of its
/// nodes by each variant, in the order of the variants.
using HiddenVariants = std::function<void(
    const TokenTree& tree, const std::function<void(const torch::Tensor& hidden)>& emit)>;

struct VariantScoring {
  int64_t batch_tokens = 0;        // distinct tokens of a batch; 0: as score_batch_tokens
  const RowBatches* batches = {};  // as in ScoreOptions
  /// Sees each row's scores by each variant as they come.
  std::function<void(size_t variant, size_t row, const std::vector<TokenScore>&)> on_row = {};
  /// Counts rows; may throw to stop.
  std::function<void(int64_t done, int64_t total)> report = {};
};

/// Scores rows under every variant; `model` gives the head. Rows of a batch that begin alike share
/// those tokens (model/token_tree.h); only scored positions reach the head. Throws Error for a row
/// without scored tokens or an id outside the vocabulary.
std::vector<RowScores> score_variants(CausalLm& model, std::span<const ScoredRow> rows,
                                      const HiddenVariants& variants,
                                      const VariantScoring& options = {});

/// Distinct tokens of a scoring batch that fill this device.
int64_t score_batch_tokens(torch::Device device);

}  // namespace hypenet
