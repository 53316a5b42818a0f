// The arithmetic is ops/linear.h; here are the parameters and their copies.
#include "model/linear.h"

#include "ops/linear.h"

namespace hypenet {

LinearImpl::LinearImpl(int64_t in, int64_t out, bool has_bias) {
  weight = register_parameter("weight", torch::empty({out, in}));
  if (has_bias) bias = register_parameter("bias", torch::zeros({out}));
}

Tensor LinearImpl::forward(const Tensor& x) const {
  return apply_linear(x, weight, bias, compute_weight, compute_bias);
}

}  // namespace hypenet
