// RWKV-7's mixer, one token of each row against its float32 state (docs/kernels.md, "One step"):
// from its projections to the gated output of its heads.
#pragma once

#include "kernels/status.h"

namespace hypenet::kernels::cuda {

/// The mixer's parameters, [heads, d] but for the first two, in one type; null where it has none.
struct Rwkv7Constants {
  const void *r_weight, *k_weight;       // [d]: norms of queries and keys
  const void *decay_start, *rate_start;  // w0, a0
  const void *kappa_scale, *key_rate;    // k_k, k_a; null: keys are balanced
  const void *bonus;                     // r_k
  const void *norm_weight, *norm_bias;   // of each head's outputs; null: they are divided by d^0.5
  DType type;
};

/// For each row and head, with r, k = rotate(norm(r)), likewise, decay = e^-0.5 sigmoid(z_decay +
/// w0), rate = sigmoid(z_rate + a0), kappa = unit(k .* k_k) and k <- k .* (1 + (rate - 1) .* k_a)
/// (balanced: k .* (1 - exp(-decay) + rate)): S <- diag(exp(-decay)) S - (kappa .* rate)^T (kappa
/// S) + k^T v, S the state of the row's slot; y = (norm(r S) + (sum r .* k .* r_k) v) .* gate.
/// A slot comes at most once.
struct Rwkv7StepParams {
  const void *r, *k, *v;         // [rows, heads, d], [rows, key_heads, d], [rows, value_heads, d]
  const void *z_decay, *z_rate;  // [rows, heads, d]
  const void *gate;              // [rows, heads, d]
  const float *cos, *sin;        // [rows, d / 2], or null for no rotation
  Rwkv7Constants constants;
  const int32_t *slots;  // [rows]; < 0: y is zero, no state changes
  float *state;          // [slots, heads, d, d], updated in place
  void *y;               // [rows, heads, d]
  int64_t rows, heads, key_heads, value_heads, size;
  DType type;                     // of the rows
  bool is_sigmoid_gate;           // y .* sigmoid(gate)
  float eps, unit_eps, norm_eps;  // of the norms of r and k, of kappa's length squared, of outputs
};

/// d 64 or 128. Pointers are multiples of 16 bytes. On a settled stream slots and state are read
/// ahead.
Status rwkv7_step(const Rwkv7StepParams &params, Stream stream);

}  // namespace hypenet::kernels::cuda
