// Float32 on the CPU and both types of the GPU's kernels have their own forms; the plain ones serve
// every other type and device.
#include "ops/norm.h"

#include <ATen/Parallel.h>

#include "kernels/rms_norm.h"
#include "ops/gating.h"
#include "ops/norm_cuda.h"
#include "ops/types.h"

namespace hypenet {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Rows are cut into as many parts whatever the number of threads, so that sums do not depend on it.
constexpr int64_t kParts = 32;
constexpr int64_t kGrain = 8192;  // elements a task

int64_t rows_of(const Tensor& x) { return x.numel() / x.size(-1); }

struct Normed {
  Tensor y, inverse;  // [..., n], [..., 1]
};

Normed forward_plain(const Tensor& x, const Tensor& weight, double eps) {
  const Tensor wide = x.to(sum_type(x));
  const Tensor inverse = wide.square().mean(-1, true).add_(eps).rsqrt_();
  return {(wide * inverse).to(x.scalar_type()).mul_(weight.to(x.scalar_type())), inverse};
}

Normed forward_cpu(const Tensor& x, const Tensor& weight, double eps) {
  std::vector<int64_t> shape = x.sizes().vec();
  shape.back() = 1;
  const Normed out{torch::empty_like(x), torch::empty(shape, x.options())};
  const kernels::RmsNormParams params{.x = x.const_data_ptr<float>(),
                                      .weight = weight.const_data_ptr<float>(),
                                      .y = out.y.data_ptr<float>(),
                                      .inverse = out.inverse.data_ptr<float>(),
                                      .size = x.size(-1),
                                      .eps = static_cast<float>(eps)};
  at::parallel_for(0, rows_of(x), kGrain / x.size(-1) + 1, [&](int64_t begin, int64_t end) {
    kernels::rms_norm_forward(params, begin, end);
  });
  return out;
}

struct Gradients {
  Tensor x, weight;
};

Gradients backward_plain(const Tensor& x, const Tensor& weight, const Tensor& inverse,
                         const Tensor& given) {
  const torch::ScalarType type = inverse.scalar_type();
  const Tensor dy = given.to(type);
  const Tensor normed = x.to(type) * inverse;
  const Tensor dnormed = dy * weight.to(type);
  const Tensor dx = (dnormed - normed * (dnormed * normed).mean(-1, true)).mul_(inverse);
  const Tensor dweight = (dy * normed).reshape({-1, x.size(-1)}).sum(0);
  return {dx.to(x.scalar_type()), dweight.to(weight.scalar_type())};
}

Gradients backward_cpu(const Tensor& x, const Tensor& weight, const Tensor& inverse,
                       const Tensor& given) {
  const int64_t n = x.size(-1), rows = rows_of(x);
  const Tensor dy = given.contiguous(), dx = torch::empty_like(x);
  const Tensor shares = torch::zeros({kParts, n}, x.options());
  const kernels::RmsNormBackwardParams params{.x = x.const_data_ptr<float>(),
                                              .weight = weight.const_data_ptr<float>(),
                                              .inverse = inverse.const_data_ptr<float>(),
                                              .dy = dy.const_data_ptr<float>(),
                                              .dx = dx.data_ptr<float>(),
                                              .size = n};
  float* const share = shares.data_ptr<float>();
  const int64_t grain = kGrain * kParts / (x.numel() + 1) + 1;
  at::parallel_for(0, kParts, grain, [&](int64_t begin, int64_t end) {
    for (int64_t part = begin; part < end; ++part) {
      kernels::rms_norm_backward(params, part * rows / kParts, (part + 1) * rows / kParts,
                                 share + part * n);
    }
  });
  return {dx, shares.sum(0)};
}

struct RmsNormFunction : torch::autograd::Function<RmsNormFunction> {
  static Tensor forward(AutogradContext* context, const Tensor& given, const Tensor& weight,
                        double eps) {
    const bool fast = suits_cpu_kernels({given, weight});
    const Tensor x = fast ? given.contiguous() : given;
    const Normed out = fast ? forward_cpu(x, weight, eps) : forward_plain(x, weight, eps);
    context->save_for_backward({x, weight, out.inverse});
    return out.y;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const auto form = suits_cpu_kernels({saved[0], saved[1]}) ? backward_cpu : backward_plain;
    const Gradients d = form(saved[0], saved[1], saved[2], gradients[0]);
    return {d.x, d.weight, Tensor()};
  }
};

}  // namespace

Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps) {
  check_shape("rms_norm: weight", weight, {x.size(-1)});
  if (suits_norm_cuda({x, weight})) return rms_norm_cuda(x, weight, eps);
  return RmsNormFunction::apply(x, weight, eps);
}

SumAndNorm add_rms_norm(const Tensor& x, const Tensor& delta, const Tensor& weight, double eps) {
  check_shape("add_rms_norm: weight", weight, {x.size(-1)});
  check_shape("add_rms_norm: delta", delta, x.sizes());
  check_alike("add_rms_norm: delta", delta, x);
  if (suits_norm_cuda({x, delta, weight})) return add_rms_norm_cuda(x, delta, weight, eps);
  const Tensor sum = x + delta;
  return {sum, rms_norm(sum, weight, eps)};
}

Tensor gated_rms_norm(const Tensor& x, const Tensor& weight, const Tensor& gate, double eps) {
  check_shape("gated_rms_norm: weight", weight, {x.size(-1)});
  check_shape("gated_rms_norm: gate", gate, x.sizes());
  check_alike("gated_rms_norm: gate", gate, x);
  if (suits_norm_cuda({x, weight, gate})) return gated_rms_norm_cuda(x, weight, gate, eps);
  return sigmoid_gate(rms_norm(x, weight, eps), gate);
}

}  // namespace hypenet
