// The gated delta rule, one token of each row against its float32 state (docs/kernels.md, "One
// step"): norms, RoPE, decay and beta are fused in; the output norm follows in a pass of its own.
#pragma once

#include "kernels/status.h"

namespace hypenet::kernels::cuda {

/// Head h of `all` takes head h / (all / n) of what has n heads.
struct DeltaHeads {
  int64_t all, of_q, of_k, of_v;
};

/// With y = z + dt_bias, exp(A_log) softplus(y), or -lower_bound sigmoid(exp(A_log) y).
struct DeltaDecay {
  const void* z;        // [rows, heads, size]
  const void* A_log;    // [heads]
  const void* dt_bias;  // [heads, size]
  int64_t size;         // dk, or 1: all of a head's channels fade alike
  DType A_log_type, dt_bias_type;
  float lower_bound;  // 0: the first of the two
};

/// For each row and head, with q, k = unit(rotate(norm(q) * q_weight)), likewise, and beta =
/// most_beta sigmoid(b): S <- exp(-decay) S, S <- S + k^T beta (v - k S), o = scale q S, S the
/// state of the row's slot. A slot comes at most once. unit(x) = x / sqrt(sum(x^2) + 1e-6).
struct DeltaStepParams {
  const void* q;         // [rows, heads.of_q, dk]
  const void* k;         // [rows, heads.of_k, dk]
  const void* v;         // [rows, heads.of_v, dv]
  const void* q_weight;  // [dk], or null for no norms
  const void* k_weight;  // [dk]
  const float* cos;      // [rows or 1, dk / 2], or null for no rotation
  const float* sin;
  DeltaDecay decay;
  const void* b;         // [rows, heads]
  const int32_t* slots;  // [rows]; < 0: o is zero, no state changes; null: row n has slot n
  float* state;          // [slots, heads, dk, dv], updated in place
  void* o;               // [rows, heads, dv]
  DeltaHeads heads;
  int64_t rows, key_size, value_size;
  int64_t angle_row;        // numbers from one row's angles to the next: dk / 2, or 0
  DType type, weight_type;  // of the rows, and of the norms' weights
  float most_beta, scale, eps;
};

/// dk 64, 128 or 256, dv a multiple of 64. Pointers are multiples of 16 bytes. On a settled stream
/// slots and state are read ahead.
Status delta_step(const DeltaStepParams& params, Stream stream);

}  // namespace hypenet::kernels::cuda
