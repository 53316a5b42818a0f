// The kernel reads z where it lies, a part of a longer row.
#include "ops/gated_heads.h"

#include <c10/core/DeviceGuard.h>

#include "kernels/device.h"
#include "ops/form.h"
#include "ops/gating.h"
#include "ops/gradient.h"
#include "ops/norm.h"
#include "ops/stream.h"
#include "ops/types.h"

namespace hypenet {
namespace {

/// z as rows [N, heads d] with equal steps between them, a view where it is one.
Tensor rows_of(const Tensor& z) {
  const Tensor rows = z.reshape({-1, z.size(-1)});
  return rows.stride(1) == 1 ? rows : rows.contiguous();
}

Tensor by_kernel(const Tensor& given_y, const Tensor& given_z, const Tensor& given_bias,
                 const Tensor& given_weight, int64_t heads, double eps) {
  const Tensor y = dense(given_y), z = rows_of(given_z), bias = dense(given_bias);
  const Tensor weight = dense(given_weight), o = torch::empty_like(y);
  const kernels::cuda::GatedHeadsParams params{
      .y = y.const_data_ptr(),
      .z = z.const_data_ptr(),
      .z_row = z.stride(0),
      .bias = data_or_null(bias),
      .weight = weight.const_data_ptr(),
      .o = o.mutable_data_ptr(),
      .rows = z.size(0),
      .heads = heads,
      .size = y.size(-1) / heads,
      .type = kernel_type(y),
      .bias_type = bias.defined() ? kernel_type(bias) : kernels::DType::kFloat32,
      .weight_type = kernel_type(weight),
      .eps = static_cast<float>(eps)};
  const c10::DeviceGuard on_device(y.device());
  throw_unless_ok("gated_heads", kernels::device_kernels().gated_heads(params, current_stream(y)));
  return o;
}

}  // namespace

Tensor gated_heads(const Tensor& y, const Tensor& z, const Tensor& bias, const Tensor& weight,
                   int64_t heads, double eps) {
  HYPENET_CHECK(y.dim() >= 1 && heads > 0 && y.size(-1) % heads == 0,
                "gated_heads: expected y [.., heads d] for ", heads, " heads, found ", y.sizes());
  check_shape("gated_heads: z", z, y.sizes());
  check_alike("gated_heads: z", z, y);
  if (bias.defined()) check_shape("gated_heads: bias", bias, {y.size(-1)});
  check_shape("gated_heads: weight", weight, {y.size(-1)});
  const int64_t d = y.size(-1) / heads;
  if (is_step_head(d) && suits_cuda_kernels({y, z, bias, weight}) &&
      !needs_gradient({y, z, bias, weight})) {
    return by_kernel(y, z, bias, weight, heads, eps);
  }
  const Tensor gate = bias.defined() ? z + bias.to(z.scalar_type()) : z;
  const Tensor ones = torch::ones({d}, y.options());
  const Tensor normed = rms_norm(swiglu(gate, y).unflatten(-1, {heads, d}), ones, eps);
  return normed.flatten(-2) * weight.to(y.scalar_type());
}

}  // namespace hypenet
