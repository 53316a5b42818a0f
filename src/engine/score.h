// Scoring rows by one model, or by several variants of it that share work (the layer sweep).
#pragma once

#include <torch/torch.h>

#include <functional>
#include <span>
#include <vector>

#include "engine/scoring.h"
#include "model/causal_lm.h"

namespace hypenet {

/// Given ids [B, T], calls `emit` with the final hidden states [B, T, D] of each variant, in the
/// order of the variants.
using HiddenVariants = std::function<void(
    const torch::Tensor& ids, const std::function<void(const torch::Tensor& hidden)>& emit)>;

/// Scores rows under every variant; `model` gives the head. Rows of equal length share a batch of
/// at most `batch_tokens` tokens; only scored positions reach the head. `report(done, total)`
/// counts rows; it may be empty, or throw to stop. Throws Error for a row without scored tokens or
/// an id outside the vocabulary.
std::vector<RowScores> score_variants(CausalLm& model, std::span<const ScoredRow> rows,
                                      int64_t batch_tokens, const HiddenVariants& variants,
                                      const std::function<void(int64_t, int64_t)>& report = {});

/// Ids as an int64 tensor [n] on the device.
torch::Tensor ids_tensor(std::span<const int32_t> ids, torch::Device device);

/// Throws Error naming `place` for an id outside the vocabulary.
void check_ids(std::string_view place, std::span<const int32_t> ids, int64_t vocab_size);

}  // namespace hypenet
