// The weight is a parameter, the arithmetic is in the ops.
#include "model/norm.h"

namespace hypenet {

RmsNormImpl::RmsNormImpl(int64_t size, double eps, bool is_layer_norm) : eps_(eps) {
  weight = register_parameter("weight", torch::ones({size}));
  if (is_layer_norm) bias = register_parameter("bias", torch::zeros({size}));
}

Tensor RmsNormImpl::forward(const Tensor& x) const {
  if (!bias.defined()) return rms_norm(x, weight, eps_);
  const torch::ScalarType type = x.scalar_type();
  return torch::layer_norm(x, {x.size(-1)}, weight.to(type), bias.to(type), eps_);
}

SumAndNorm RmsNormImpl::add(const Residual& x) const {
  if (!x.pending.defined()) return {x.stream, forward(x.stream)};
  if (bias.defined()) {
    const Tensor sum = x.sum();
    return {sum, forward(sum)};
  }
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
