// Joins attention results over parts of the keys (docs/kernels.md, "Attention of a prefill").
#pragma once

#include "kernels/status.h"

namespace hypenet::kernels::cuda {

constexpr int kMostAttentionParts = 32;

/// joined = sum_p exp(logsum_p) output_p / sum_p exp(logsum_p), float32 inside.
struct JoinAttentionParams {
  const void* outputs[kMostAttentionParts];   // [T, H, d] of `type`
  const float* logsums[kMostAttentionParts];  // [H, T]
  void* joined;                               // [T, H, d] of `type`
  int64_t parts, T, H, d;                     // d a multiple of 8, at most 256
  DType type;
};

/// Pointers are multiples of 16 bytes.
Status join_attention(const JoinAttentionParams& params, Stream stream);

}  // namespace hypenet::kernels::cuda
