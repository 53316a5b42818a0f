// Matrix products of float32 CPU tensors through oneDNN: libtorch's own go through MKL, which
// leaves half of an AMD processor's rate unused (docs/benchmarks.md). Everything else goes to
// libtorch.
#pragma once

#include <torch/torch.h>

namespace hypenet {

using torch::Tensor;

/// x W^T + b for x [..., in], weight [out, in], bias [out] or undefined. `compute_weight` and
/// `compute_bias` are what the products read in place of weight and bias: copies of them in x's
/// type; undefined: weight and bias are cast when their type is another. Differentiable in x,
/// weight and bias; the gradients of weight and bias have their types, float32 ones from bfloat16
/// factors without a rounding to bfloat16 on a GPU. Throws Error when sizes disagree.
Tensor apply_linear(const Tensor& x, const Tensor& weight, const Tensor& bias = {},
                    const Tensor& compute_weight = {}, const Tensor& compute_bias = {});

/// The product that ends a model: logits = hidden weight^T.
struct Head {
  Tensor weight;               // [V, D]
  Tensor compute_weight = {};  // a copy that products read, or undefined: weight is cast

  /// The weight [V, D] that products with this type read; no autograd.
  Tensor in_type(torch::ScalarType type) const;

  /// weight.grad += dz^T hidden for dz [N, V], hidden [N, D], in the gradient's memory where it
  /// exists; summed in float32 in a float32 gradient on a GPU.
  void add_gradient(const Tensor& dz, const Tensor& hidden) const;
};

/// a b^T for a [m, k], b [n, k] of any strides, of one type; no autograd.
Tensor product(const Tensor& a, const Tensor& b);

}  // namespace hypenet
