// The likeliest tokens of rows of logits (ops/top_logprobs.h).
#pragma once

#include <cstdint>

#include "kernels/sampling.h"

namespace hypenet::kernels {

/// Settings are of slots, the rest of rows.
struct TopLogprobsParams {
  const float* logits;             // [rows, vocabulary]
  const int32_t* slots;            // [rows]
  const SampleSettings* settings;  // [slots]: top_logprobs
  const int32_t* ids;              // [rows]: what was chosen; rows with less than 0 have no tokens
  const float* log_sums;           // [rows], of SampleParams
  int32_t* top_ids;                // [rows, kMostTop], -1 where there is none
  float* top_logprobs;             // [rows, kMostTop]
  int64_t rows, vocabulary;
};

/// How many tokens the row is asked for.
constexpr int64_t top_of_row(const TopLogprobsParams& params, int64_t row) {
  if (params.slots[row] < 0 || params.ids[row] < 0) return 0;
  const int64_t asked = params.settings[params.slots[row]].top_logprobs;
  const int64_t most = asked < kMostTop ? asked : kMostTop;
  return most < params.vocabulary ? most : params.vocabulary;
}

/// Rows begin .. end - 1, in host memory.
void top_logprobs(const TopLogprobsParams& params, int64_t begin, int64_t end);

}  // namespace hypenet::kernels
