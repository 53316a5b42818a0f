// The gates of gated recurrences: the decay that a token asks for, and the delta rule's beta.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include <optional>

namespace hypenet {

using torch::Tensor;

/// exp(A_log) softplus(z + dt_bias), or with a bound -lower_bound sigmoid(exp(A_log) (z +
/// dt_bias)): nats per token, z's shape. z [..., H n], A_log of H numbers in any shape, dt_bias [H
/// n], lower_bound (of the log decay) < 0. In float32 (float64 for float64 z) whatever their types
/// are. Differentiable in all three tensors. Without gradients on a CPU a row's numbers do not
/// depend, bit for bit, on the other rows.
Tensor decay_gate(const Tensor& z, const Tensor& A_log, const Tensor& dt_bias,
                  const std::optional<double>& lower_bound = {});

/// `most` sigmoid(b), in float32 (float64 for float64 b). Differentiable.
Tensor beta_gate(const Tensor& b, double most);

}  // namespace hypenet
