// The RMSNorm module: a weight and an epsilon around ops/norm.h.
#pragma once

#include <torch/torch.h>

namespace hypenet {

using torch::Tensor;

class RmsNormImpl : public torch::nn::Module {
 public:
  RmsNormImpl(int64_t size, double eps);
  Tensor forward(const Tensor& x) const;  // over the last dimension
  Tensor weight;                          // [size], ones at first

 private:
  double eps_;
};
TORCH_MODULE(RmsNorm);

}  // namespace hypenet
