// The recurrence with a decay per token and head, one token of each row against its float32 state,
// with what stands around it in Mamba-2 (docs/kernels.md, "One step").
#pragma once

#include "kernels/status.h"

namespace hypenet::kernels::cuda {

/// Head h of row n begins at x + (n * row + h) * d.
struct RowHeads {
  const void* x;
  int64_t row;    // heads from one row to the next
  int64_t heads;  // a divisor of all; head h of all takes head h / (all / heads)
};

/// A constant of each head.
struct HeadConstants {
  const void* x;  // [heads], or null
  DType type;
};

/// Mamba-2's gates: beta = softplus(dt + bias), decay = exp(A_log) beta. Without A_log beta is 1
/// and the decay softplus(dt + bias).
struct TimeSteps {
  const void* dt;             // [rows, heads]; null: the decays and betas are given
  int64_t row;                // numbers from one row to the next
  HeadConstants bias, A_log;  // each may be null
};

/// For each row and head, with q, k = rotate(norm(q) * q_weight), likewise: S <- exp(-decay) S +
/// k^T beta v, o = scale q S + skip v, S the state of the row's slot. A slot comes at most once.
struct TokenDecayStepParams {
  RowHeads q, k, v;
  const void* q_weight;  // [d], or null for no norms
  const void* k_weight;  // [d]
  const float* cos;      // [rows or 1, d / 2], or null for no rotation
  const float* sin;
  const float* decay;  // [rows, heads]
  const float* beta;   // [rows, heads], or null: 1
  TimeSteps steps;
  HeadConstants skip;
  const int32_t* slots;  // [rows]; < 0: o is zero, no state changes; null: row n has slot n
  float* state;          // [slots, heads, d, d], updated in place
  void* o;               // [rows, heads, d]
  int64_t rows, heads, size;
  int64_t angle_row;        // numbers from one row's angles to the next: d / 2, or 0
  DType type, weight_type;  // of the rows, and of the norms' weights
  float scale, eps;
};

/// d 64 or 128. Pointers are multiples of 16 bytes. On a settled stream slots and state are read
/// ahead.
Status token_decay_step(const TokenDecayStepParams& params, Stream stream);

/// o = norm of each head(y .* silu(z + bias)) .* weight, float32 between y and o.
struct GatedHeadsParams {
  const void* y;       // [rows, heads, d]
  const void* z;       // [rows, heads, d]
  int64_t z_row;       // numbers from one row to the next
  const void* bias;    // [heads, d], or null
  const void* weight;  // [heads, d]
  void* o;             // [rows, heads, d]
  int64_t rows, heads, size;
  DType type, bias_type, weight_type;
  float eps;
};

/// d 64 or 128.
Status gated_heads(const GatedHeadsParams& params, Stream stream);

}  // namespace hypenet::kernels::cuda
