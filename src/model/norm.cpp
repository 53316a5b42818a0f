// The weight is a parameter, the arithmetic is ops/norm.h.
#include "model/norm.h"

#include "ops/norm.h"

namespace hypenet {

RmsNormImpl::RmsNormImpl(int64_t size, double eps) : eps_(eps) {
  weight = register_parameter("weight", torch::ones({size}));
}

Tensor RmsNormImpl::forward(const Tensor& x) const { return rms_norm(x, weight, eps_); }

}  // namespace hypenet
