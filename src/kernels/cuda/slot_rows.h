// The last token and position of each slot, taken by the rows of a step and put back after it.
#pragma once

#include "kernels/status.h"

namespace hypenet::kernels::cuda {

/// Rows with a slot < 0 are padding: they take zeros and put nothing back.
struct SlotRowsParams {
  const int32_t* slots;         // [rows], each at most once
  int32_t *tokens, *positions;  // [slots]
  int64_t rows;
};

/// row_tokens, row_positions [rows] = tokens, positions of the slots.
Status take_slot_rows(const SlotRowsParams& params, int32_t* row_tokens, int32_t* row_positions,
                      Stream stream);

/// tokens = max(ids, 0) and positions += 1 of the slots; packed [2, rows] = ids, and the bits of
/// logprobs.
Status put_slot_rows(const SlotRowsParams& params, const int32_t* ids, const float* logprobs,
                     int32_t* packed, Stream stream);

}  // namespace hypenet::kernels::cuda
