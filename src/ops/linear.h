// Matrix products of float32 CPU tensors through oneDNN: libtorch's own go through MKL, which
// leaves half of an AMD processor's rate unused (docs/benchmarks.md). Everything else goes to
// libtorch.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include <span>
#include <vector>

#include "ops/weight.h"

namespace hypenet {

/// x W^T + b of every layer for one x [..., in]; each result [..., out] is contiguous memory of its
/// own. Differentiable in x, weights and biases; the gradients of a weight and its bias have the
/// weight's type, float32 ones from bfloat16 factors without a rounding to bfloat16 on a GPU. The
/// gradient of x, a sum over the layers, is summed by the products themselves there, rounded to its
/// type after each. Packed weights have no gradient and give x none; they are multiplied by
/// linear_step. Throws Error when sizes or devices disagree.
std::vector<Tensor> apply_linears(const Tensor& x, std::span<const LinearWeights> layers);

/// apply_linears of one layer.
Tensor apply_linear(const Tensor& x, const LinearWeights& layer);

/// weight.grad += dy^T x for dy [N, out], x [N, in], in the gradient's memory where it exists;
/// summed in float32 in a float32 gradient on a GPU.
void add_weight_gradient(const Weight& weight, const Tensor& dy, const Tensor& x);

/// a b^T for a [m, k], b [n, k] of any strides, of one type; no autograd.
Tensor product(const Tensor& a, const Tensor& b);

}  // namespace hypenet
