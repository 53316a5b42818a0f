// Parameters stay in their own type; the casts here carry the gradient back into it.
#include "model/linear.h"

#include "ops/linear.h"

namespace hypenet {

LinearImpl::LinearImpl(int64_t in, int64_t out, bool has_bias) {
  weight = register_parameter("weight", torch::empty({out, in}));
  if (has_bias) bias = register_parameter("bias", torch::zeros({out}));
}

Tensor LinearImpl::forward(const Tensor& x) const {
  const torch::ScalarType type = x.scalar_type();
  return apply_linear(x, weight.to(type), bias.defined() ? bias.to(type) : bias);
}

}  // namespace hypenet
