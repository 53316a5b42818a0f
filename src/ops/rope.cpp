// Of a rotation alone a CPU and a GPU have kernels, of one after a norm a GPU; the rest is tensor
// code. Only the norm needs a backward of its own.
#include "ops/rope.h"

#include <ATen/Parallel.h>
#include <c10/core/DeviceGuard.h>
#include <torch/autograd.h>

#include "kernels/device.h"
#include "ops/form.h"
#include "ops/gradient.h"
#include "ops/norm.h"
#include "ops/stream.h"
#include "ops/types.h"

namespace hypenet {
namespace {

using kernels::NormRopeBackwardParams;
using kernels::RopeParams;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t kGrain = 8192;  // elements a task

/// (a, b) -> (a cos - b sin, b cos + a sin) on the two halves of the last dimension, the angles
/// times `direction`.
Tensor rotate_composed(const Tensor& x, const RopeAngles& angles, double direction) {
  const int64_t half = x.size(-1) / 2;
  const Tensor wide = x.to(sum_type(x));
  const Tensor cos = angles.cos.unsqueeze(-2), sin = angles.sin.unsqueeze(-2);  // [..., T, 1, d/2]
  const Tensor a = wide.narrow(-1, 0, half), b = wide.narrow(-1, half, half);
  const Tensor out = torch::empty_like(wide);
  out.narrow(-1, 0, half).copy_(a * cos).addcmul_(b, sin, -direction);
  out.narrow(-1, half, half).copy_(b * cos).addcmul_(a, sin, direction);
  return out.to(x.scalar_type());
}

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

Tensor rotate(const Tensor& given, const RopeAngles& given_angles, double direction) {
  const Form form = form_of_rope(given, given_angles);
  if (form == Form::kComposed) return rotate_composed(given, given_angles, direction);
  const c10::DeviceGuard on_device(given.device());
  const Tensor x = given.contiguous(), y = torch::empty_like(x);
  const RopeAngles angles{given_angles.cos.contiguous(), given_angles.sin.contiguous()};
  RopeParams params = params_of(x, angles, y);
  params.direction = static_cast<float>(direction);
  if (form == Form::kDevice) {
    throw_unless_ok("rope", kernels::device_kernels().rope(params, current_stream(x)));
    return y;
  }
  const int64_t grain = kGrain / (params.heads * params.size) + 1;
  at::parallel_for(0, params.tokens, grain,
                   [&](int64_t begin, int64_t end) { kernels::rope(params, begin, end); });
  return y;
}

/// The derivative of a rotation is the rotation back.
struct RopeFunction : torch::autograd::Function<RopeFunction> {
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& cos,
                        const Tensor& sin) {
    context->save_for_backward({cos, sin});
    return rotate(x, {cos, sin}, 1);
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    return {rotate(gradients[0], {saved[0], saved[1]}, -1), Tensor(), Tensor()};
  }
};

struct Rotated {
  Tensor y, inverse = {};  // inverse [B T heads], when backward may come
};

/// By a GPU's kernel; all tensors are contiguous.
Rotated norm_and_rotate(const Tensor& x, const Tensor& weight, double eps, const RopeAngles& angles,
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

struct NormRopeFunction : torch::autograd::Function<NormRopeFunction> {
  static Tensor forward(AutogradContext* context, const Tensor& given_x, const Tensor& given_weight,
                        double eps, const Tensor& cos, const Tensor& sin) {
    const Tensor x = given_x.contiguous(), weight = given_weight.contiguous();
    const Rotated out = norm_and_rotate(x, weight, eps, {cos, sin}, true);
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

void check_rope(const Tensor& x, const RopeAngles& angles) {
  HYPENET_CHECK(x.dim() == 4 && x.size(3) % 2 == 0,
                "rope: expected [B, T, heads, d] with even d, found ", x.sizes());
  const int64_t T = x.size(1), half = x.size(3) / 2;
  if (angles.cos.dim() == 2) {
    check_shape("rope: angles", angles.cos, {T, half});
  } else {
    check_shape("rope: angles", angles.cos, {x.size(0), T, half});
  }
  check_shape("rope: angles: sin", angles.sin, angles.cos.sizes());
}

}  // namespace

Form form_of_rope(const Tensor& x, const RopeAngles& angles) {
  if (suits_cuda_kernels({x, angles.cos, angles.sin}) && x.numel() > 0 &&
      angles.cos.scalar_type() == torch::kFloat32 && x.size(-1) <= kernels::cuda::kMaxRopeSize) {
    return Form::kDevice;
  }
  return suits_cpu_kernels({x, angles.cos, angles.sin}) ? Form::kCpu : Form::kComposed;
}

RopeAngles rope_angles(const Tensor& positions, const Tensor& frequencies) {
  const Tensor angles = positions.to(torch::kFloat64).unsqueeze(-1) * frequencies;
  return {angles.cos().to(torch::kFloat32), angles.sin().to(torch::kFloat32)};
}

Tensor rope_frequencies(int64_t head_dim, double theta) {
  HYPENET_CHECK(head_dim > 0 && head_dim % 2 == 0,
                "rope: expected a positive even head size, found ", head_dim);
  const Tensor exponents = torch::arange(0, head_dim, 2, torch::kFloat64) / head_dim;
  return torch::pow(theta, -exponents);
}

Tensor apply_rope(const Tensor& x, const RopeAngles& angles) {
  check_rope(x, angles);
  return RopeFunction::apply(x, angles.cos, angles.sin);
}

Tensor norm_rope(const Tensor& x, const Tensor& weight, double eps, const RopeAngles& angles) {
  check_rope(x, angles);
  check_shape("norm_rope: weight", weight, {x.size(3)});
  if (form_of_rope(x, angles) != Form::kDevice || form_of_norm(x, weight) != Form::kDevice) {
    return apply_rope(rms_norm(x, weight, eps), angles);
  }
  const Tensor cos = angles.cos.contiguous(), sin = angles.sin.contiguous();
  if (needs_gradient({x, weight})) return NormRopeFunction::apply(x, weight, eps, cos, sin);
  return norm_and_rotate(x.contiguous(), weight.contiguous(), eps, {cos, sin}, false).y;
}

}  // namespace hypenet
