// The decay that a token asks for, as gated recurrences have it: exp(A_log) softplus(z + dt_bias).
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

namespace hypenet {

using torch::Tensor;

/// Nats per token, z's shape: z [..., H n], A_log of H numbers in any shape, dt_bias [H n]. In
/// float32 (float64 for float64 z) whatever their types are. Differentiable in all three. Without
/// gradients on a CPU a row's numbers do not depend, bit for bit, on the other rows.
Tensor decay_gate(const Tensor& z, const Tensor& A_log, const Tensor& dt_bias);

}  // namespace hypenet
