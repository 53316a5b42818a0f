// Two sets of final hidden states of one text under one head, position by position.
#pragma once

#include "engine/compare.h"
#include "model/causal_lm.h"

namespace hypenet {

/// Sums over positions, not means.
struct HiddenComparison {
  PositionComparison sum = {};   // of the four measures
  double squares_of_change = 0;  // of (loss_b - loss_a)^2
};

/// Of hidden states [N, D] after the last norm
/// of one model (a) and another (b), and the text's next tokens [N] int64. Logits are never more
/// than a piece of the text's.
HiddenComparison compare_hidden(CausalLm& model, const Tensor& a, const Tensor& b,
                                const Tensor& next);

}  // namespace hypenet
