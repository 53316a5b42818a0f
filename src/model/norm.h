// The RMSNorm module: a weight and an epsilon around the ops that normalise. With a bias it is
// LayerNorm: the mean goes first.
#pragma once

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>
#include <torch/types.h>
#include <torch/utils.h>

#include "ops/norm.h"
#include "ops/rope.h"

namespace hypenet {

using torch::Tensor;

/// The hidden state between blocks, stream + pending: the sum is left to the next norm, since both
/// are one pass on a GPU.
struct Residual {
  Tensor stream;        // [B, T, D]
  Tensor pending = {};  // [B, T, D], or undefined: nothing is left to add

  Tensor sum() const { return pending.defined() ? stream + pending : stream; }
};

class RmsNormImpl : public torch::nn::Module {
 public:
  RmsNormImpl(int64_t size, double eps, bool is_layer_norm = false);
  Tensor forward(const Tensor& x) const;  // over the last dimension

  /// The norm together with what stands beside it; each is one pass on a GPU. A LayerNorm has the
  /// first alone.
  SumAndNorm add(const Residual& x) const;                          // x's sum, and its norm
  Tensor gated(const Tensor& x, const Tensor& gate) const;          // norm(x) * sigmoid(gate)
  Tensor silu_gated(const Tensor& x, const Tensor& gate) const;     // norm(x) * silu(gate)
  Tensor rotated(const Tensor& x, const RopeAngles& angles) const;  // x [B, T, heads, size]

  double eps() const { return eps_; }

  Tensor weight;  // [size], ones at first
  Tensor bias;    // [size] of a LayerNorm, or undefined

 private:
  double eps_;
};
TORCH_MODULE(RmsNorm);

}  // namespace hypenet
