// The gate and norm of each head behind Mamba-2's recurrence: the gate comes first.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

namespace hypenet {

using torch::Tensor;

/// rms of each head(y .* silu(z + bias)) .* weight; y, z [.., heads d] of one type, bias [heads d]
/// or undefined, weight [heads d], of any floating types. Returns y's type. Differentiable. Without
/// gradients bfloat16 and float32 rows on a GPU have a kernel for d 64 and 128, one pass over y and
/// z that rounds once; a row's bits are its own. Throws Error when shapes or types disagree.
Tensor gated_heads(const Tensor& y, const Tensor& z, const Tensor& bias, const Tensor& weight,
                   int64_t heads, double eps);

}  // namespace hypenet
