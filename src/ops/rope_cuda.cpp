// The rotation alone and with the norm before it; only the latter has its own gradient.
#include "ops/rope_cuda.h"

#include <c10/core/DeviceGuard.h>

#include "kernels/device.h"
#include "ops/gradient.h"
#include "ops/stream.h"

namespace hypenet {
namespace {

using kernels::cuda::NormRopeBackwardParams;
using kernels::cuda::RopeParams;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// Sizes and angles; all tensors are contiguous.
RopeParams params_of(const Tensor& x, const RopeAngles& angles, const Tensor& y) {
  RopeParams params{};
  params.x = x.const_data_ptr();
  params.cos = angles.cos.const_data_ptr<float>();
  params.sin = angles.sin.const_data_ptr<float>();
  params.y = y.mutable_data_ptr();
  params.tokens = x.size(0) * x.size(1);
  params.heads = x.size(2);
  params.size = x.size(3);
  params.positions = angles.cos.numel() / angles.cos.size(-1);
  params.type = kernel_type(x);
  return params;
}

struct Rotated {
  Tensor y, inverse = {};  // inverse [B T heads], when backward may come
};

/// All tensors are contiguous.
Rotated forward(const Tensor& x, const Tensor& weight, double eps, const RopeAngles& angles,
                bool keeps_inverse) {
  const c10::DeviceGuard on_device(x.device());
  Rotated out{.y = torch::empty_like(x)};
  RopeParams params = params_of(x, angles, out.y);
  params.weight = weight.const_data_ptr();
  params.weight_type = kernel_type(weight);
  params.eps = static_cast<float>(eps);
  if (keeps_inverse) {
    out.inverse = torch::empty({x.numel() / x.size(3)}, x.options().dtype(torch::kFloat32));
    params.inverse = out.inverse.mutable_data_ptr<float>();
  }
  throw_unless_ok("norm_rope", kernels::device_kernels().rope(params, current_stream(x)));
  return out;
}

struct NormRopeCuda : torch::autograd::Function<NormRopeCuda> {
  static Tensor forward(AutogradContext* context, const Tensor& given_x, const Tensor& given_weight,
                        double eps, const Tensor& cos, const Tensor& sin) {
    const Tensor x = given_x.contiguous(), weight = given_weight.contiguous();
    const Rotated out = hypenet::forward(x, weight, eps, {cos, sin}, true);
    context->save_for_backward({x, weight, cos, sin, out.inverse});
    return out.y;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const Tensor &x = saved[0], &weight = saved[1], &cos = saved[2], &inverse = saved[4];
    const c10::DeviceGuard on_device(x.device());
    const Tensor dy = gradients[0].contiguous(), dx = torch::empty_like(x);
    NormRopeBackwardParams params{.x = x.const_data_ptr(),
                                  .weight = weight.const_data_ptr(),
                                  .cos = cos.const_data_ptr<float>(),
                                  .sin = saved[3].const_data_ptr<float>(),
                                  .inverse = inverse.const_data_ptr<float>(),
                                  .dy = dy.const_data_ptr(),
                                  .dx = dx.mutable_data_ptr(),
                                  .parts = nullptr,
                                  .dweight = nullptr,
                                  .tokens = x.size(0) * x.size(1),
                                  .heads = x.size(2),
                                  .size = x.size(3),
                                  .positions = cos.numel() / cos.size(-1),
                                  .type = kernel_type(x),
                                  .weight_type = kernel_type(weight),
                                  .part_count = 0};
    params.part_count = kernels::device_kernels().norm_rope_backward_parts(params);
    Tensor dweight, parts;
    if (context->needs_input_grad(1)) {
      dweight = torch::empty_like(weight);
      parts = torch::empty({params.part_count, params.size}, inverse.options());
      params.parts = parts.mutable_data_ptr<float>();
      params.dweight = dweight.mutable_data_ptr();
    }
    throw_unless_ok("norm_rope backward",
                    kernels::device_kernels().norm_rope_backward(params, current_stream(x)));
    return {dx, dweight, Tensor(), Tensor(), Tensor()};
  }
};

}  // namespace

bool suits_rope_cuda(const Tensor& x, const RopeAngles& angles) {
  return suits_cuda_kernels({x, angles.cos, angles.sin}) && x.numel() > 0 &&
         angles.cos.scalar_type() == torch::kFloat32 && x.size(-1) <= kernels::cuda::kMaxRopeSize;
}

Tensor rope_cuda(const Tensor& given, const RopeAngles& angles, double direction) {
  const c10::DeviceGuard on_device(given.device());
  const Tensor x = given.contiguous(), y = torch::empty_like(x);
  const RopeAngles dense{angles.cos.contiguous(), angles.sin.contiguous()};
  RopeParams params = params_of(x, dense, y);
  params.direction = static_cast<float>(direction);
  throw_unless_ok("rope", kernels::device_kernels().rope(params, current_stream(x)));
  return y;
}

Tensor norm_rope_cuda(const Tensor& x, const Tensor& weight, double eps, const RopeAngles& angles) {
  const Tensor cos = angles.cos.contiguous(), sin = angles.sin.contiguous();
  if (needs_gradient({x, weight})) return NormRopeCuda::apply(x, weight, eps, cos, sin);
  return forward(x.contiguous(), weight.contiguous(), eps, {cos, sin}, false).y;
}

}  // namespace hypenet
