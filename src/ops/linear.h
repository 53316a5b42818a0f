// Matrix products of float32 CPU tensors through oneDNN: libtorch's own go through MKL, which
// leaves half of an AMD processor's rate unused (docs/benchmarks.md). Everything else goes to
// libtorch.
#pragma once

#include <torch/torch.h>

namespace hypenet {

using torch::Tensor;

/// x W^T + b for x [..., in], weight [out, in], bias [out] or undefined, all of one type.
/// Differentiable. Throws Error when sizes disagree.
Tensor apply_linear(const Tensor& x, const Tensor& weight, const Tensor& bias = {});

/// a b^T for a [m, k], b [n, k] of any strides, of one type; no autograd.
Tensor product(const Tensor& a, const Tensor& b);

}  // namespace hypenet
