// On a GPU one pair of kernels serves the three ops; on a CPU the norm alone has kernels, and the
// sum before it and the gate after it are ops of their own, as they are in tensor code.
#include "ops/norm.h"

#include <ATen/Parallel.h>
#include <c10/core/DeviceGuard.h>
#include <torch/autograd.h>

#include <cmath>

#include "kernels/device.h"
#include "ops/form.h"
#include "ops/gating.h"
#include "ops/gradient.h"
#include "ops/stream.h"
#include "ops/types.h"

namespace hypenet {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Rows are cut into as many parts whatever the number of threads, so that sums do not depend on it.
constexpr int64_t kParts = 32;
constexpr int64_t kGrain = 8192;  // elements a task

void* mutable_or_null(const Tensor& x) { return x.defined() ? x.mutable_data_ptr() : nullptr; }

/// x [..., n] is contiguous, delta and gate too or undefined; they come where a GPU's kernel takes
/// them. weight [n] is contiguous.
struct Inputs {
  Tensor x, delta = {}, gate = {}, weight;
  double eps;
  bool gates_by_silu = false;
};

struct Outputs {
  Tensor y, sum = {}, inverse = {};  // sum with delta, inverse when backward may come
};

Outputs forward_composed(const Inputs& in) {
  const Tensor& x = in.x;
  const Tensor wide = x.to(sum_type(x));
  const Tensor inverse = wide.square().mean(-1, true).add_(in.eps).rsqrt_();
  return {.y = (wide * inverse).to(x.scalar_type()).mul_(in.weight.to(x.scalar_type())),
          .inverse = inverse};
}

Outputs forward(const Inputs& in, bool keeps_inverse) {
  const Tensor& x = in.x;
  if (form_of_norm(x, in.weight) == Form::kComposed) return forward_composed(in);
  const c10::DeviceGuard on_device(x.device());
  const int64_t n = x.size(-1), rows = x.numel() / n;
  Outputs out{.y = torch::empty_like(x)};
  if (in.delta.defined()) out.sum = torch::empty_like(x);
  if (keeps_inverse) out.inverse = torch::empty({rows}, x.options().dtype(torch::kFloat32));
  const kernels::RmsNormParams params{
      .x = x.const_data_ptr(),
      .delta = data_or_null(in.delta),
      .gate = data_or_null(in.gate),
      .weight = in.weight.const_data_ptr(),
      .sum = mutable_or_null(out.sum),
      .y = out.y.mutable_data_ptr(),
      .inverse = keeps_inverse ? out.inverse.mutable_data_ptr<float>() : nullptr,
      .rows = rows,
      .size = n,
      .type = kernel_type(x),
      .weight_type = kernel_type(in.weight),
      .eps = static_cast<float>(in.eps),
      .gates_by_silu = in.gates_by_silu};
  if (x.is_cuda()) {
    throw_unless_ok("rms_norm", kernels::device_kernels().rms_norm(params, current_stream(x)));
    return out;
  }
  at::parallel_for(0, rows, kGrain / n + 1,
                   [&](int64_t begin, int64_t end) { kernels::rms_norm(params, begin, end); });
  return out;
}

struct Given {
  Tensor x, weight, gate = {}, inverse;  // as in forward; x is what was normalised
  Tensor dy, dsum = {};                  // contiguous; dsum may be undefined
  bool needs_weight;
};

struct Gradients {
  Tensor x, weight = {}, gate = {};
};

Gradients backward_composed(const Given& in) {
  const torch::ScalarType type = in.inverse.scalar_type();
  const Tensor dy = in.dy.to(type);
  const Tensor normed = in.x.to(type) * in.inverse;
  const Tensor dnormed = dy * in.weight.to(type);
  const Tensor dx = (dnormed - normed * (dnormed * normed).mean(-1, true)).mul_(in.inverse);
  const Tensor dweight = (dy * normed).reshape({-1, in.x.size(-1)}).sum(0);
  return {dx.to(in.x.scalar_type()), dweight.to(in.weight.scalar_type())};
}

/// Returns the weight's gradient.
Tensor backward_cpu(const kernels::RmsNormBackwardParams& params) {
  const int64_t n = params.size, rows = params.rows;
  const Tensor shares = torch::zeros({kParts, n});
  float* const share = shares.data_ptr<float>();
  const int64_t grain = kGrain * kParts / (rows * n + 1) + 1;
  at::parallel_for(0, kParts, grain, [&](int64_t begin, int64_t end) {
    for (int64_t part = begin; part < end; ++part) {
      kernels::rms_norm_backward(params, part * rows / kParts, (part + 1) * rows / kParts,
                                 share + part * n);
    }
  });
  return shares.sum(0);
}

Gradients backward(const Given& in) {
  const Tensor& x = in.x;
  if (form_of_norm(x, in.weight) == Form::kComposed) return backward_composed(in);
  const c10::DeviceGuard on_device(x.device());
  Gradients out{.x = torch::empty_like(x)};
  if (in.gate.defined()) out.gate = torch::empty_like(x);
  kernels::RmsNormBackwardParams params{.x = x.const_data_ptr(),
                                        .gate = data_or_null(in.gate),
                                        .weight = in.weight.const_data_ptr(),
                                        .inverse = in.inverse.const_data_ptr<float>(),
                                        .dy = in.dy.const_data_ptr(),
                                        .dsum = data_or_null(in.dsum),
                                        .dx = out.x.mutable_data_ptr(),
                                        .dgate = mutable_or_null(out.gate),
                                        .parts = nullptr,
                                        .dweight = nullptr,
                                        .rows = x.numel() / x.size(-1),
                                        .size = x.size(-1),
                                        .type = kernel_type(x),
                                        .weight_type = kernel_type(in.weight),
                                        .part_count = 0};
  if (x.is_cpu()) {
    out.weight = backward_cpu(params);
    return out;
  }
  params.part_count = kernels::device_kernels().rms_norm_backward_parts(params);
  Tensor parts;
  if (in.needs_weight) {
    out.weight = torch::empty_like(in.weight);
    parts = torch::empty({params.part_count, params.size}, in.inverse.options());
    params.parts = parts.mutable_data_ptr<float>();
    params.dweight = out.weight.mutable_data_ptr();
  }
  throw_unless_ok("rms_norm backward",
                  kernels::device_kernels().rms_norm_backward(params, current_stream(x)));
  return out;
}

struct RmsNormFunction : torch::autograd::Function<RmsNormFunction> {
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& weight,
                        double eps) {
    const Inputs in{.x = x.contiguous(), .weight = weight.contiguous(), .eps = eps};
    const Outputs out = hypenet::forward(in, true);
    context->save_for_backward({in.x, in.weight, out.inverse});
    return out.y;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const Gradients d = hypenet::backward({.x = saved[0],
                                           .weight = saved[1],
                                           .inverse = saved[2],
                                           .dy = gradients[0].contiguous(),
                                           .needs_weight = context->needs_input_grad(1)});
    return {d.x, d.weight, Tensor()};
  }
};

struct AddRmsNormFunction : torch::autograd::Function<AddRmsNormFunction> {
  static variable_list forward(AutogradContext* context, const Tensor& x, const Tensor& delta,
                               const Tensor& weight, double eps) {
    context->set_materialize_grads(false);
    const Inputs in{.x = x.contiguous(),
                    .delta = delta.contiguous(),
                    .weight = weight.contiguous(),
                    .eps = eps};
    const Outputs out = hypenet::forward(in, true);
    context->save_for_backward({out.sum, in.weight, out.inverse});
    return {out.sum, out.y};
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const Tensor &dsum = gradients[0], &dnormed = gradients[1];
    if (!dnormed.defined()) return {dsum, dsum, Tensor(), Tensor()};
    const variable_list saved = context->get_saved_variables();
    const Gradients d = hypenet::backward({.x = saved[0],
                                           .weight = saved[1],
                                           .inverse = saved[2],
                                           .dy = dnormed.contiguous(),
                                           .dsum = dsum.defined() ? dsum.contiguous() : dsum,
                                           .needs_weight = context->needs_input_grad(2)});
    return {d.x, d.x, d.weight, Tensor()};
  }
};

struct GatedRmsNormFunction : torch::autograd::Function<GatedRmsNormFunction> {
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& weight,
                        const Tensor& gate, double eps) {
    const Inputs in{
        .x = x.contiguous(), .gate = gate.contiguous(), .weight = weight.contiguous(), .eps = eps};
    const Outputs out = hypenet::forward(in, true);
    context->save_for_backward({in.x, in.weight, in.gate, out.inverse});
    return out.y;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const Gradients d = hypenet::backward({.x = saved[0],
                                           .weight = saved[1],
                                           .gate = saved[2],
                                           .inverse = saved[3],
                                           .dy = gradients[0].contiguous(),
                                           .needs_weight = context->needs_input_grad(1)});
    return {d.x, d.weight, d.gate, Tensor()};
  }
};

}  // namespace

Form form_of_norm(const Tensor& x, const Tensor& weight) {
  if (suits_cuda_kernels({x, weight}) && x.size(-1) <= kernels::cuda::kMaxNormSize &&
      x.numel() > 0) {
    return Form::kDevice;
  }
  return suits_cpu_kernels({x, weight}) ? Form::kCpu : Form::kComposed;
}

Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps) {
  check_shape("rms_norm: weight", weight, {x.size(-1)});
  if (needs_gradient({x, weight})) return RmsNormFunction::apply(x, weight, eps);
  // float32 rows of a bfloat16 model are summed by the kernel, too: each by itself.
  const Tensor own = suits_cpu_kernels({x}) ? weight.to(torch::kFloat32) : weight;
  return forward({.x = x.contiguous(), .weight = own.contiguous(), .eps = eps}, false).y;
}

Tensor l2_norm(const Tensor& x, double eps) {
  const int64_t n = x.size(-1);
  const auto root = std::sqrt(static_cast<double>(n));
  const Tensor weight = torch::full({n}, 1 / root, x.options().dtype(sum_type(x)));
  return rms_norm(x, weight, eps / static_cast<double>(n));
}

SumAndNorm add_rms_norm(const Tensor& x, const Tensor& delta, const Tensor& weight, double eps) {
  check_shape("add_rms_norm: weight", weight, {x.size(-1)});
  check_shape("add_rms_norm: delta", delta, x.sizes());
  check_alike("add_rms_norm: delta", delta, x);
  if (form_of_norm(x, weight) != Form::kDevice) {
    const Tensor sum = x + delta;
    return {sum, rms_norm(sum, weight, eps)};
  }
  if (needs_gradient({x, delta, weight})) {
    const variable_list out = AddRmsNormFunction::apply(x, delta, weight, eps);
    return {out[0], out[1]};
  }
  const Outputs out = forward(
      {.x = x.contiguous(), .delta = delta.contiguous(), .weight = weight.contiguous(), .eps = eps},
      false);
  return {out.sum, out.y};
}

Tensor gated_rms_norm(const Tensor& x, const Tensor& weight, const Tensor& gate, double eps) {
  check_shape("gated_rms_norm: weight", weight, {x.size(-1)});
  check_shape("gated_rms_norm: gate", gate, x.sizes());
  check_alike("gated_rms_norm: gate", gate, x);
  if (form_of_norm(x, weight) != Form::kDevice) {
    return sigmoid_gate(rms_norm(x, weight, eps), gate);
  }
  if (needs_gradient({x, weight, gate})) return GatedRmsNormFunction::apply(x, weight, gate, eps);
  const Inputs in{
      .x = x.contiguous(), .gate = gate.contiguous(), .weight = weight.contiguous(), .eps = eps};
  return forward(in, false).y;
}

Tensor silu_gated_rms_norm(const Tensor& x, const Tensor& weight, const Tensor& gate, double eps) {
  check_shape("silu_gated_rms_norm: gate", gate, x.sizes());
  check_alike("silu_gated_rms_norm: gate", gate, x);
  if (form_of_norm(x, weight) != Form::kDevice || needs_gradient({x, weight, gate})) {
    return swiglu(gate, rms_norm(x, weight, eps));
  }
  const Inputs in{.x = x.contiguous(),
                  .gate = gate.contiguous(),
                  .weight = weight.contiguous(),
                  .eps = eps,
                  .gates_by_silu = true};
  return forward(in, false).y;
}

}  // namespace hypenet
