// The last token and position of each slot, on its device: what a step's rows start from, and what
// they leave.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include "ops/sampling.h"

namespace hypenet {

using torch::Tensor;

/// Of S slots: the last token of each sequence, which is not in memory yet, and its position.
struct SlotTokens {
  Tensor tokens, positions;  // [S] int32
};

struct RowTokens {
  Tensor ids, positions;  // [N] int32
};

/// Those of slots [N] int32; zeros for padding (a slot < 0). One kernel on a GPU, never waits.
RowTokens take_rows(const Tensor& slots, const SlotTokens& all);

/// The chosen tokens become the slots' last ones, one position further on (an id < 0 counts as 0);
/// slots come at most once, padding changes nothing. Writes `packed` int32 [2, N]: the ids, and the
/// bits of the log-probabilities. One kernel on a GPU, never waits.
void put_rows(const Tensor& slots, const SampledTokens& chosen, const SlotTokens& all,
              const Tensor& packed);

}  // namespace hypenet
