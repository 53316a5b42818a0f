// Attention to slots and a window, one token of each row against its float32 slots and window
// (docs/kernels.md, "One step"): norms, RoPE and the decay are fused in.
#pragma once

#include "kernels/status.h"

namespace hypenet::kernels::cuda {

/// For each row and key head, with q, k normed, and rotated for the window: the token that leaves
/// the window enters the slots (ops/slot_attention.h), the row's own takes its place, and o is the
/// mean of the slots' and the window's values. The token at position p is at place p mod W of its
/// slot's window. A slot comes at most once.
struct SlotStepParams {
  const void* q;             // [rows, heads, d]
  const void *k, *v;         // [rows, key_heads, d]
  const void* g;             // [rows, key_heads, M]; the decay is softplus(-g) / normalizer
  const void* q_weight;      // [d], or null for no norms
  const void* k_weight;      // [d]
  const float *cos, *sin;    // [rows or 1, d / 2]
  const int32_t* slots;      // [rows]; < 0: o is zero, nothing changes
  const int32_t* positions;  // [rows]
  float* slot_keys;          // [slots, key_heads, d, M], updated in place
  float* slot_values;        // [slots, key_heads, M, d], likewise
  float* window;  // [slots, W, key_heads, 3 d + M], likewise: k, rotated k, v and the decay
  void* o;        // [rows, heads, d]
  int64_t rows, heads, key_heads;         // heads / key_heads at most 16
  int64_t size, slot_count, window_size;  // d, M, W
  int64_t angle_row;                      // numbers from one row's angles to the next: d / 2, or 0
  DType type, weight_type;                // of the rows, and of the norms' weights
  float normalizer, scale, eps;
};

/// d 64 or 128, M 16, 32 or 64, W up to 64. Pointers are multiples of 16 bytes. On a settled stream
/// slots, positions and states are read ahead.
Status slot_step(const SlotStepParams& params, Stream stream);

}  // namespace hypenet::kernels::cuda
