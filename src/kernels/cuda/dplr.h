// RWKV-7's recurrence in chunks of 64 tokens on tensor cores: a transition that is a diagonal plus
// a matrix of rank one, which reads the state before it decays (docs/kernels.md, "RWKV-7").
#pragma once

#include "kernels/status.h"

namespace hypenet::kernels::cuda {

/// S_t = (diag(exp(-decay_t)) + b_t^T a_t) S_{t-1} + k_t^T v_t,  o_t = r_t S_t. Tensors are
/// contiguous and start at multiples of 16 bytes.
struct DplrParams {
  const void *r, *k, *a, *b, *v;       // bfloat16 [B, T, H, d]
  const float* decay;                  // [B, T, H, d], nats per token, 0 to 5
  const float* given;                  // initial state [B, H, d, d] (k, v); null: zero
  void* output;                        // bfloat16 [B, T, H, d]
  float* final_state;                  // [B, H, d, d]; null: not wanted
  void* scratch;                       // dplr_bytes(params, false) bytes, from a multiple of 256
  int64_t batch, tokens, heads, size;  // B, T >= 1, H, d = 64 or 128
};

/// The gradients; `forward` holds the inputs, with dplr_bytes(params, true) bytes of scratch.
struct DplrBackwardParams {
  DplrParams forward;            // output and final_state are not read
  const void* doutput;           // bfloat16 [B, T, H, d]
  const float* dfinal;           // [B, H, d, d]; null: zero
  void *dr, *dk, *da, *db, *dv;  // bfloat16 [B, T, H, d]
  float* ddecay;                 // [B, T, H, d]
  float* dgiven;                 // [B, H, d, d]; null: not wanted
};

Status dplr(const DplrParams& params, Stream stream);
Status dplr_backward(const DplrBackwardParams& params, Stream stream);

/// What `scratch` must hold, forward or backward.
int64_t dplr_bytes(const DplrParams& params, bool is_backward);

/// Whether the current device can run the kernels, both ways, for this head size.
bool has_dplr(int64_t size);

}  // namespace hypenet::kernels::cuda
