// Three ops over one pair of kernels. A backward keeps the rows' inverse RMS beside its inputs.
#include "ops/norm_cuda.h"

#include <c10/core/DeviceGuard.h>

#include "kernels/device.h"
#include "ops/gradient.h"
#include "ops/stream.h"

namespace hypenet {
namespace {

using kernels::cuda::RmsNormBackwardParams;
using kernels::cuda::RmsNormParams;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

const void* data_or_null(const Tensor& x) { return x.defined() ? x.const_data_ptr() : nullptr; }

struct Inputs {
  Tensor x, delta = {}, gate = {};  // [..., n], contiguous; delta and gate may be undefined
  Tensor weight;                    // [n], contiguous
  double eps;
};

struct Outputs {
  Tensor y, sum = {}, inverse = {};  // sum with delta, inverse when backward may come
};

Outputs forward(const Inputs& in, bool keeps_inverse) {
  const Tensor& x = in.x;
  const c10::DeviceGuard on_device(x.device());
  const int64_t rows = x.numel() / x.size(-1);
  Outputs out{.y = torch::empty_like(x)};
  if (in.delta.defined()) out.sum = torch::empty_like(x);
  if (keeps_inverse) out.inverse = torch::empty({rows}, x.options().dtype(torch::kFloat32));
  const RmsNormParams params{
      .x = x.const_data_ptr(),
      .delta = data_or_null(in.delta),
      .gate = data_or_null(in.gate),
      .weight = in.weight.const_data_ptr(),
      .sum = in.delta.defined() ? out.sum.mutable_data_ptr() : nullptr,
      .y = out.y.mutable_data_ptr(),
      .inverse = keeps_inverse ? out.inverse.mutable_data_ptr<float>() : nullptr,
      .rows = rows,
      .size = x.size(-1),
      .type = kernel_type(x),
      .weight_type = kernel_type(in.weight),
      .eps = static_cast<float>(in.eps)};
  throw_unless_ok("rms_norm", kernels::device_kernels().rms_norm(params, current_stream(x)));
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

Gradients backward(const Given& in) {
  const Tensor& x = in.x;
  const c10::DeviceGuard on_device(x.device());
  Gradients out{.x = torch::empty_like(x)};
  if (in.gate.defined()) out.gate = torch::empty_like(x);
  RmsNormBackwardParams params{.x = x.const_data_ptr(),
                               .gate = data_or_null(in.gate),
                               .weight = in.weight.const_data_ptr(),
                               .inverse = in.inverse.const_data_ptr<float>(),
                               .dy = in.dy.const_data_ptr(),
                               .dsum = data_or_null(in.dsum),
                               .dx = out.x.mutable_data_ptr(),
                               .dgate = in.gate.defined() ? out.gate.mutable_data_ptr() : nullptr,
                               .parts = nullptr,
                               .dweight = nullptr,
                               .rows = x.numel() / x.size(-1),
                               .size = x.size(-1),
                               .type = kernel_type(x),
                               .weight_type = kernel_type(in.weight),
                               .part_count = 0};
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

struct RmsNormCuda : torch::autograd::Function<RmsNormCuda> {
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

struct AddRmsNormCuda : torch::autograd::Function<AddRmsNormCuda> {
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

struct GatedRmsNormCuda : torch::autograd::Function<GatedRmsNormCuda> {
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

bool suits_norm_cuda(std::initializer_list<Tensor> tensors) {
  const Tensor& x = *tensors.begin();
  return suits_cuda_kernels(tensors) && x.size(-1) <= kernels::cuda::kMaxNormSize && x.numel() > 0;
}

Tensor rms_norm_cuda(const Tensor& x, const Tensor& weight, double eps) {
  if (needs_gradient({x, weight})) return RmsNormCuda::apply(x, weight, eps);
  return forward({.x = x.contiguous(), .weight = weight.contiguous(), .eps = eps}, false).y;
}

SumAndNorm add_rms_norm_cuda(const Tensor& x, const Tensor& delta, const Tensor& weight,
                             double eps) {
  if (needs_gradient({x, delta, weight})) {
    const variable_list out = AddRmsNormCuda::apply(x, delta, weight, eps);
    return {out[0], out[1]};
  }
  const Outputs out = forward(
      {.x = x.contiguous(), .delta = delta.contiguous(), .weight = weight.contiguous(), .eps = eps},
      false);
  return {out.sum, out.y};
}

Tensor gated_rms_norm_cuda(const Tensor& x, const Tensor& weight, const Tensor& gate, double eps) {
  if (needs_gradient({x, weight, gate})) return GatedRmsNormCuda::apply(x, weight, gate, eps);
  const Inputs in{
      .x = x.contiguous(), .gate = gate.contiguous(), .weight = weight.contiguous(), .eps = eps};
  return forward(in, false).y;
}

}  // namespace hypenet
