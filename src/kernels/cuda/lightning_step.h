// Lightning attention, one token against a float32 state (docs/kernels.md, "One step"): the q/k
// norm and RoPE are fused in; the output norm needs all heads and follows in a kernel of its own.
#pragma once

#include "kernels/status.h"

namespace hypenet::kernels::cuda {

/// With q, k = rotate(norm(q) * q_weight), rotate(norm(k) * k_weight): S <- exp(-decay) S + k^T v,
/// o = scale q S. Query head h takes the keys and values of head h / (heads / key_heads).
struct LightningStepParams {
  const void* q;         // [B, heads, d]
  const void* k;         // [B, key_heads, d]
  const void* v;         // [B, key_heads, d]
  const void* q_weight;  // [d], or null for no norm of q
  const void* k_weight;  // [d], or null
  const float* cos;      // [positions, d / 2], or null for no rotation
  const float* sin;
  const float* decay;    // [heads] nats per token
  const int32_t* slots;  // [B], each at most once; < 0: o is zero; null: row n has slot n
  float* state;          // [slots, heads, d, d], updated in place
  void* o;               // [B, heads, d]
  int64_t batch, heads, key_heads, size, positions;  // d is 64 or 128; positions 1 or B
  DType type, weight_type;
  float scale, eps;
};

/// Pointers are multiples of 16 bytes. On a settled stream slots and state are read ahead.
Status lightning_step(const LightningStepParams& params, Stream stream);

}  // namespace hypenet::kernels::cuda
