// The delta rule with decay in chunks of 64 on tensor cores: Gated DeltaNet (a decay per token and
// head) and Kimi Delta Attention (a decay per key channel); docs/kernels.md, "The delta rule".
#pragma once

#include "kernels/status.h"

namespace hypenet::kernels::cuda {

/// S' = diag(exp(-decay_t)) S,  S = S' + k_t^T beta_t (v_t - k_t S'),  o_t = scale q_t S. Tensors
/// are contiguous and start at multiples of 16 bytes.
struct DeltaRuleParams {
  const void *q, *k, *v;  // bfloat16 [B, T, H, d]
  const float* decay;     // nats per token, >= 0: [B, T, H], or [B, T, H, d] per channel
  const float* beta;      // [B, T, H]
  const float* given;     // initial state [B, H, d, d] (k, v); null: zero
  void* output;           // bfloat16 [B, T, H, d]
  float* final_state;     // [B, H, d, d]; null: not wanted
  void* scratch;          // delta_rule_bytes(params, false) bytes, from a multiple of 256
  int64_t batch, tokens, heads, size;  // B, T >= 1, H, d = 64 or 128
  bool is_per_channel;
  float scale;
  bool portable = false;  // take the chains for older GPUs on a new one too
};

/// The gradients; `forward` holds the inputs, with delta_rule_bytes(params, true) bytes of scratch.
struct DeltaRuleBackwardParams {
  DeltaRuleParams forward;  // output and final_state are not read
  const void* doutput;      // bfloat16 [B, T, H, d]
  const float* dfinal;      // [B, H, d, d]; null: zero
  void *dq, *dk, *dv;       // bfloat16 [B, T, H, d]
  float *ddecay, *dbeta;    // as decay and beta
  float* dgiven;            // [B, H, d, d]; null: not wanted
};

Status delta_rule(const DeltaRuleParams& params, Stream stream);
Status delta_rule_backward(const DeltaRuleBackwardParams& params, Stream stream);

/// What `scratch` must hold, forward or backward.
int64_t delta_rule_bytes(const DeltaRuleParams& params, bool is_backward);

/// Whether the current device can run the kernels, both ways, for this head size.
bool has_delta_rule(int64_t size, bool is_per_channel);

}  // namespace hypenet::kernels::cuda
