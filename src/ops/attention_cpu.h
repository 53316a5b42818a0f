// Causal attention of a whole sequence by the kernels of kernels/cpu, one (row, key/value head)
// pair a task.
#pragma once

#include <torch/torch.h>

namespace hypenet {

using torch::Tensor;

/// q [B, T, H, d], k, v [B, T, G, d], float32 on the CPU, d a multiple of 16. Returns [B, T, H, d].
/// Differentiable.
Tensor attention_cpu(const Tensor& q, const Tensor& k, const Tensor& v);

}  // namespace hypenet
