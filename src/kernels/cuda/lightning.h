// Lightning attention in chunks on tensor cores (docs/kernels.md). One causal pass serves the
// forward and, with its arguments exchanged and time reversed, all three gradients.
#pragma once

#include "kernels/status.h"

namespace hypenet::kernels::cuda {

/// o_t = scale q_t (gamma^(t + state_lag) X + sum_{s <= t} gamma^(t - s) k_s^T v_s), t counted in
/// the pass's direction, X the given state. Tensors are contiguous bfloat16 [B, T, H, d] (packed:
/// [tokens, H, d]), states contiguous float32 [B, H, d, d]; X and the final state count in units of
/// the output: given * given_factor, and final_factor * sum at the end.
struct LightningPass {
  const void *q, *k, *v;
  void* o;
  const float* given;  // null: zero
  float* final_state;  // null: not wanted; gamma^(n - 1 + state_lag) X + sum gamma^(n-1-s) k v,
                       // times gamma more when state_lag is 0
  float given_factor = 1, final_factor = 1;
  int32_t state_lag = 1;  // 1: X is the state before the first token; 0: it is met undecayed
  bool reverse = false;   // time runs from the last token to the first
  bool given_transposed = false;  // X is stored as [v, k]
};

/// Passes over the same tokens run side by side, so that what they share is read from memory once.
struct LightningParams {
  LightningPass passes[3];
  int64_t pass_count = 1;
  const float* decay;  // [H] nats per token, > 0
  float scale = 1;
  // Packed sequences: int32 [B + 1], sequence b is tokens offsets[b] .. offsets[b + 1] - 1; null:
  // all have `tokens`.
  const int32_t* offsets = nullptr;
  int64_t total = 0;  // tokens of all packed sequences: offsets are clamped to 0 .. total
  int64_t sequences, tokens, heads, size;  // B, T (or the longest sequence), H, d = 64 or 128
  bool portable = false;                   // take the kernel for older GPUs on a new one too
};

Status lightning(const LightningParams& params, Stream stream);

/// Whether the current device can run a kernel for this head size.
bool has_lightning(int64_t size);

}  // namespace hypenet::kernels::cuda
