// The forms of causal_attention beside libtorch's own: the kernels of kernels/cpu, and a GPU's
// fused kernels (cuDNN's or flash, both libtorch's).
#pragma once

#include "ops/attention.h"

namespace hypenet {

/// q [B, T, H, d], k, v [B, T, G, d], float32 on the CPU, d a multiple of 16. Returns [B, T, H, d].
/// Differentiable.
Tensor attention_cpu(const Tensor& q, const Tensor& k, const Tensor& v);

/// True for bfloat16 tensors on a GPU of a head size that the fused kernels take.
bool suits_fused_attention(const Tensor& q, const Tensor& k, const Tensor& v);

/// causal_attention without padding, for tensors that suit. Differentiable; never waits for the
/// device.
Tensor fused_attention(const Tensor& q, const Tensor& k, const Tensor& v, AttentionBackend backend);

/// Attention over a part of the keys for tensors that suit, heads first: q [1, H, T, d], k and v
/// [1, G, S, d]; every query sees every key, or (T = S) query t keys 0 .. t. Returns [1, H, T, d]
/// and the natural logarithm of its sums of exponentials, float32 with H T elements. No autograd.
std::tuple<Tensor, Tensor> fused_attention_part(const Tensor& q, const Tensor& k, const Tensor& v,
                                                bool is_causal);

}  // namespace hypenet
