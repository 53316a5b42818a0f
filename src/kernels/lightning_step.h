// Lightning attention, tokens one by one against float32 states (docs/kernels.md, "One step"): the
// q/k norm and RoPE are fused in; the output norm needs all heads and follows in a pass of its own.
#pragma once

#include "kernels/status.h"

namespace hypenet::kernels {

/// For each row, with q, k = rotate(norm(q) * q_weight), rotate(norm(k) * k_weight):
/// S <- exp(-decay) S + k^T v, o = scale q S, S the state of the row's slot. Query head h takes the
/// keys and values of head h / (heads / key_heads). q, k, v and o are float32 on a CPU, where rows
/// of one slot are taken in turn; on a GPU a slot comes at most once.
struct LightningStepParams {
  const void* q;         // [rows, heads, d]
  const void* k;         // [rows, key_heads, d]
  const void* v;         // [rows, key_heads, d]
  const void* q_weight;  // [d], or null for no norms
  const void* k_weight;  // [d]
  const float* cos;      // [rows or 1, d / 2], or null for no rotation
  const float* sin;
  const float* decay;    // [heads] nats per token
  const int32_t* slots;  // [rows]; < 0: o is zero, no state changes; null: row n has slot n
  float* state;          // [slots, heads, d, d], updated in place
  void* o;               // [rows, heads, d]
  int64_t rows, heads, key_heads;
  int64_t size;       // d: a multiple of 4 on a CPU, 64 or 128 on a GPU
  int64_t angle_row;  // numbers from one row's angles to the next: d / 2, or 0
  DType type, weight_type;
  float scale, eps;
};

/// Heads begin .. end - 1 of all rows; scratch [2 d].
void lightning_step(const LightningStepParams& params, int64_t begin, int64_t end, float* scratch);

namespace cuda {

/// Pointers are multiples of 16 bytes. On a settled stream slots and state are read ahead.
Status lightning_step(const LightningStepParams& params, Stream stream);

}  // namespace cuda
}  // namespace hypenet::kernels
