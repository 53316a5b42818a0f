#include "model/linear.h"

namespace hypenet {

LinearImpl::LinearImpl(int64_t in, int64_t out, bool has_bias) {
  weight = register_parameter("weight", torch::empty({out, in}));
  if (has_bias) bias = register_parameter("bias", torch::zeros({out}));
}

Tensor LinearImpl::forward(const Tensor& x) const {
  std::optional<Tensor> added;
  if (bias.defined()) added = bias.to(x.scalar_type());
  return at::linear(x, weight.to(x.scalar_type()), added);
}

}  // namespace hypenet
