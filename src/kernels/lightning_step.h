// Lightning attention, tokens one by one against float32 states on a CPU (docs/kernels.md, "One
// step"): float32 rows, the q/k norm and RoPE fused in.
#pragma once

#include <cstdint>

#include "kernels/status.h"

namespace hypenet::kernels {

/// For each row in turn, with q, k = rotate(norm(q) * q_weight), rotate(norm(k) * k_weight):
/// S <- exp(-decay) S + k^T v, o = scale q S, S the state of the row's slot. Query head h takes the
/// keys and values of head h / (heads / key_heads).
struct LightningStepParams {
  const float* q;        // [rows, heads, d]
  const float* k;        // [rows, key_heads, d]
  const float* v;        // [rows, key_heads, d]
  const void* q_weight;  // [d], or null for no norms
  const void* k_weight;  // [d]
  const float* cos;      // [rows or 1, d / 2], or null for no rotation
  const float* sin;
  const float* decay;    // [heads] nats per token
  const int32_t* slots;  // [rows]; < 0: o is zero, no state changes; null: row n has slot n
  float* state;          // [slots, heads, d, d], updated in place
  float* o;              // [rows, heads, d]
  int64_t rows, heads, key_heads, size;       // d is a multiple of 4
  int64_t q_row, k_row, v_row, position_row;  // numbers between rows; position_row may be 0
  DType weight_type;
  float scale, eps;
};

/// Heads begin .. end - 1 of all rows; scratch [2 d].
void lightning_step(const LightningStepParams& params, int64_t begin, int64_t end, float* scratch);

}  // namespace hypenet::kernels
