// The recurrence with a decay per token and head and no delta rule (Mamba-2's, simple GLA's) in
// chunks of 64 on Hopper's tensor cores; docs/kernels.md, "A decay per token".
#pragma once

#include "kernels/status.h"

namespace hypenet::kernels::cuda {

/// S_t = exp(-decay_t) S_{t-1} + k_t^T beta_t v_t,  o_t = scale q_t S_t. Tensors are contiguous and
/// start at multiples of 16 bytes.
struct TokenDecayParams {
  const void *q, *k, *v;               // bfloat16 [B, T, H, d]
  const float* decay;                  // [B, T, H] nats per token, >= 0
  const float* beta;                   // [B, T, H]; null: 1
  const float* given;                  // initial state [B, H, d, d] (k, v); null: zero
  void* output;                        // bfloat16 [B, T, H, d]
  float* final_state;                  // [B, H, d, d]; null: not wanted
  void* scratch;                       // token_decay_bytes(params, false), from a multiple of 256
  int64_t batch, tokens, heads, size;  // B, T >= 1, H, d = 64 or 128
  float scale;                         // not zero
};

/// The gradients; `forward` holds the inputs, with token_decay_bytes(params, true) of scratch.
struct TokenDecayBackwardParams {
  TokenDecayParams forward;  // output and final_state are not read
  const void* doutput;       // bfloat16 [B, T, H, d]
  const float* dfinal;       // [B, H, d, d]; null: zero
  void *dq, *dk, *dv;        // bfloat16 [B, T, H, d]
  float *ddecay, *dbeta;     // [B, T, H]; dbeta null: not wanted
  float* dgiven;             // [B, H, d, d]; null: not wanted
};

Status token_decay(const TokenDecayParams& params, Stream stream);
Status token_decay_backward(const TokenDecayBackwardParams& params, Stream stream);

/// What `scratch` must hold, forward or backward.
int64_t token_decay_bytes(const TokenDecayParams& params, bool is_backward);

/// Whether the current device can run the kernels, both ways, for this head size.
bool has_token_decay(int64_t size);

}  // namespace hypenet::kernels::cuda
