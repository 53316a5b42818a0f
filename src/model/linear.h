// A linear layer whose parameters stay in their own type while it computes in its input's.
#pragma once

#include <torch/torch.h>

namespace hypenet {

using torch::Tensor;

/// y = x W^T (+ b). Weight [out, in]. With float32 parameters and bfloat16 input the product runs
/// in bfloat16 and the gradient arrives in float32: the parameters are the master weights. The
/// product reads the copies where they are defined, else casts the parameters each time.
class LinearImpl : public torch::nn::Module {
 public:
  LinearImpl(int64_t in, int64_t out, bool bias);
  Tensor forward(const Tensor& x) const;
  Tensor weight, bias;                  // bias undefined when there is none
  Tensor compute_weight, compute_bias;  // see CausalLmImpl::make_compute_copies
};
TORCH_MODULE(Linear);

}  // namespace hypenet
