// From what grammars allow to what a step's sampling reads.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include <span>

#include "engine/token_mask.h"
#include "ops/sampling.h"

namespace hypenet {

/// Asks the masks of a step's rows (null: the row has none) which of V tokens may come next. The
/// rows behind them, up to `padded`, have no mask. On the device, by one copy that is queued there;
/// without tensors when every row may have every token.
RowMasks fill_masks(std::span<TokenMask* const> rows, int64_t padded, int64_t V,
                    torch::Device device);

}  // namespace hypenet
