// Matrix products of float32 CPU tensors through oneDNN: libtorch's own go through MKL, which
// leaves half of an AMD processor's rate unused (docs/benchmarks.md). Everything else goes to
// libtorch.
#pragma once

#include <torch/torch.h>

#include <span>
#include <vector>

namespace hypenet {

using torch::Tensor;

/// The parameters of one linear layer, and what its products read in place of them: copies in the
/// input's type; undefined: weight and bias are cast when their type is another.
struct LinearWeights {
  Tensor weight;     // [out, in]
  Tensor bias = {};  // [out] in the weight's type, or undefined
  Tensor compute_weight = {}, compute_bias = {};
};

/// x W^T + b of every layer for one x [..., in]; each result [..., out] is contiguous memory of its
/// own. Differentiable in x, weights and biases; the gradients of a weight and its bias have the
/// weight's type, float32 ones from bfloat16 factors without a rounding to bfloat16 on a GPU. The
/// gradient of x, a sum over the layers, is summed by the products themselves there, rounded to its
/// type after each. Throws Error when sizes or devices disagree.
std::vector<Tensor> apply_linears(const Tensor& x, std::span<const LinearWeights> layers);

/// apply_linears of one layer.
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
