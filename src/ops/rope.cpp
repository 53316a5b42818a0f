// Float32 on the CPU and both types of the GPU's kernels have their own forms; the plain one serves
// every other type and device.
#include "ops/rope.h"

#include <ATen/Parallel.h>

#include "kernels/rope.h"
#include "ops/norm.h"
#include "ops/norm_cuda.h"
#include "ops/rope_cuda.h"
#include "ops/types.h"

namespace hypenet {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t kGrain = 8192;  // elements a task

/// (a, b) -> (a cos - b sin, b cos + a sin) on the two halves of the last dimension, the angles
/// times `direction`.
Tensor rotate_plain(const Tensor& x, const RopeAngles& angles, double direction) {
  const int64_t half = x.size(-1) / 2;
  const Tensor wide = x.to(sum_type(x));
  const Tensor cos = angles.cos.unsqueeze(-2), sin = angles.sin.unsqueeze(-2);  // [..., T, 1, d/2]
  const Tensor a = wide.narrow(-1, 0, half), b = wide.narrow(-1, half, half);
  const Tensor out = torch::empty_like(wide);
  out.narrow(-1, 0, half).copy_(a * cos).addcmul_(b, sin, -direction);
  out.narrow(-1, half, half).copy_(b * cos).addcmul_(a, sin, direction);
  return out.to(x.scalar_type());
}

Tensor rotate_cpu(const Tensor& given, const RopeAngles& angles, double direction) {
  const Tensor x = given.contiguous(), y = torch::empty_like(x);
  const Tensor cos = angles.cos.contiguous(), sin = angles.sin.contiguous();
  const kernels::RopeParams params{.x = x.const_data_ptr<float>(),
                                   .y = y.data_ptr<float>(),
                                   .cos = cos.const_data_ptr<float>(),
                                   .sin = sin.const_data_ptr<float>(),
                                   .heads = x.size(2),
                                   .half = x.size(3) / 2,
                                   .positions = cos.numel() / cos.size(-1),
                                   .direction = static_cast<float>(direction)};
  const int64_t grain = kGrain / (x.size(2) * x.size(3)) + 1;
  at::parallel_for(0, x.size(0) * x.size(1), grain,
                   [&](int64_t begin, int64_t end) { kernels::rope(params, begin, end); });
  return y;
}

Tensor rotate(const Tensor& x, const RopeAngles& angles, double direction) {
  if (suits_rope_cuda(x, angles)) return rope_cuda(x, angles, direction);
  const bool fast = suits_cpu_kernels({x, angles.cos, angles.sin});
  return fast ? rotate_cpu(x, angles, direction) : rotate_plain(x, angles, direction);
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
  if (suits_rope_cuda(x, angles) && suits_norm_cuda({x, weight})) {
    return norm_rope_cuda(x, weight, eps, angles);
  }
  return apply_rope(rms_norm(x, weight, eps), angles);
}

}  // namespace hypenet
