// Two models on the same text, position by position.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "model/causal_lm.h"

namespace hypenet {

/// What two models predict after so many tokens, means over windows of text.
struct PositionComparison {
  double divergence = 0;          // KL(A || B) of their next tokens, nats
  double agreement = 0;           // the share where both have the same first choice
  double loss_a = 0, loss_b = 0;  // of the text's own next token, nats
};

/// All of them, by the names that files give them.
inline constexpr std::pair<const char*, double PositionComparison::*> kPositionMeasures[] = {
    {"kl", &PositionComparison::divergence},
    {"agreement", &PositionComparison::agreement},
    {"loss_a", &PositionComparison::loss_a},
    {"loss_b", &PositionComparison::loss_b}};

/// Reads windows of T + 1 tokens each with both models; [p] of the T results is after p + 1 tokens.
/// Logits are float32 and never more than a piece of a window's. The models get their config's
/// logits scaling. `on_windows(done)` may throw to stop. Throws Error for other vocabularies,
/// windows of other lengths, ids outside the vocabulary, and logits that are not finite.
std::vector<PositionComparison> compare_models(CausalLm& a, CausalLm& b,
                                               std::span<const std::vector<int32_t>> windows,
                                               const std::function<void(int64_t)>& on_windows = {});

/// Positions first .. last (tokens read before, both included) as one.
struct ComparisonBucket {
  int64_t first = 1, last = 1;
  PositionComparison mean = {};
};

/// Up to 16 tokens, then buckets that grow twofold, each cut into `per_octave` by ratio.
std::vector<ComparisonBucket> comparison_buckets(std::span<const PositionComparison> positions,
                                                 int64_t per_octave);

/// Positions first .. last (from 1) as one.
PositionComparison mean_comparison(std::span<const PositionComparison> positions, int64_t first,
                                   int64_t last);

}  // namespace hypenet
