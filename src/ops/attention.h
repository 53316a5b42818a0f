// Causal softmax attention with grouped key/value heads, and the s_t of HyPE (docs/halo.md).
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

namespace hypenet {

using torch::Tensor;

/// Which fused kernel softmax attention takes on a GPU (docs/kernels.md, "Softmax attention on the
/// GPU"); a choice by hand is for measuring. It has no effect elsewhere, nor with padding.
enum class AttentionBackend { kAutomatic, kFlash, kCudnn };

/// Causal softmax(q k^T / sqrt d) v. q [B, T, H, d]; k, v [B, S, G, d] with S >= T and H a multiple
/// of G: query t is the token at S - T + t and sees keys 0 .. S - T + t. `first_key` [B] int64
/// (undefined: zeros) gives each row's first valid key (left padding). Returns [B, T, H, d]; a
/// query that has no valid key gets zeros. Differentiable. Throws Error when shapes disagree.
Tensor causal_attention(const Tensor& q, const Tensor& k, const Tensor& v,
                        const Tensor& first_key = {},
                        AttentionBackend backend = AttentionBackend::kAutomatic);

/// s_t = log(t + a) / log(a), what HyPE multiplies a query at position t by, for int64 positions of
/// any shape; float32.
Tensor log_position_scale(const Tensor& positions, double a);

}  // namespace hypenet
