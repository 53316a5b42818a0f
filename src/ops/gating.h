// The two gates of the model: SwiGLU of the MLP and the sigmoid output gate of the mixers
// (docs/kernels.md, "Norms, RoPE and gates").
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

namespace hypenet {

using torch::Tensor;

/// silu(gate) * up, both [..., n] of one type; returns that type. Differentiable. Throws Error when
/// shapes differ.
Tensor swiglu(const Tensor& gate, const Tensor& up);

/// x * sigmoid(gate), both [..., n] of one type; returns that type. Differentiable. Throws Error
/// when shapes differ.
Tensor sigmoid_gate(const Tensor& x, const Tensor& gate);

}  // namespace hypenet
