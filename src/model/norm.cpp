// The weight is a parameter, the arithmetic is in the ops.
#include "model/norm.h"

namespace hypenet {

RmsNormImpl::RmsNormImpl(int64_t size, double eps) : eps_(eps) {
  weight = register_parameter("weight", torch::ones({size}));
}

Tensor RmsNormImpl::forward(const Tensor& x) const { return rms_norm(x, weight, eps_); }

SumAndNorm RmsNormImpl::add(const Residual& x) const {
  if (!x.pending.defined()) return {x.stream, forward(x.stream)};
  return add_rms_norm(x.stream, x.pending, weight, eps_);
}

Tensor RmsNormImpl::gated(const Tensor& x, const Tensor& gate) const {
  return gated_rms_norm(x, weight, gate, eps_);
}

Tensor RmsNormImpl::silu_gated(const Tensor& x, const Tensor& gate) const {
  return silu_gated_rms_norm(x, weight, gate, eps_);
}

Tensor RmsNormImpl::rotated(const Tensor& x, const RopeAngles& angles) const {
  return norm_rope(x, weight, eps_, angles);
}

}  // namespace hypenet
