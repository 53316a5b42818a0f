// RMSNorm, alone and with what stands beside it in a block: the residual sum, the gate of the
// lightning mixer. float32 inside.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

namespace hypenet {

using torch::Tensor;

/// x / sqrt(mean(x^2) + eps) * weight over the last dimension: x [..., n], weight [n] of any
/// floating type; returns x's type. Differentiable in both; the weight's gradient has its type.
/// Throws Error when the last sizes differ. One pass over x on a GPU (docs/kernels.md, "Norms, RoPE
/// and gates").
Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps);

/// x / sqrt(sum(x^2) + eps) over the last dimension: x [..., n] of length 1, in x's type.
/// Differentiable; the kernels are those of rms_norm.
Tensor l2_norm(const Tensor& x, double eps = 1e-6);

struct SumAndNorm {
  Tensor sum, normed;  // [..., n]
};

/// sum = x + delta in their type, normed = rms_norm(sum): x and delta [..., n], weight [n].
/// Differentiable in all three through both outputs. Throws Error when shapes or types differ.
SumAndNorm add_rms_norm(const Tensor& x, const Tensor& delta, const Tensor& weight, double eps);

/// rms_norm(x) * sigmoid(gate): x and gate [..., n] of one type, weight [n]; returns that type.
/// Differentiable in all three. Throws Error when shapes or types differ.
Tensor gated_rms_norm(const Tensor& x, const Tensor& weight, const Tensor& gate, double eps);

/// rms_norm(x) * silu(gate), likewise; two ops where a gradient is wanted.
Tensor silu_gated_rms_norm(const Tensor& x, const Tensor& weight, const Tensor& gate, double eps);

}  // namespace hypenet
