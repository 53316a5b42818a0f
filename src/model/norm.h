// The RMSNorm module: a weight and an epsilon around the ops that normalise.
#pragma once

#include <torch/torch.h>

#include "ops/norm.h"
#include "ops/rope.h"

namespace hypenet {

using torch::Tensor;

class RmsNormImpl : public torch::nn::Module {
 public:
  RmsNormImpl(int64_t size, double eps);
  Tensor forward(const Tensor& x) const;  // over the last dimension

  /// The norm together with what stands beside it; each is one pass on a GPU.
  SumAndNorm add(const Tensor& x, const Tensor& delta) const;       // x + delta, and its norm
  Tensor gated(const Tensor& x, const Tensor& gate) const;          // norm(x) * sigmoid(gate)
  Tensor rotated(const Tensor& x, const RopeAngles& angles) const;  // x [B, T, heads, size]

  Tensor weight;  // [size], ones at first

 private:
  double eps_;
};
TORCH_MODULE(RmsNorm);

}  // namespace hypenet
