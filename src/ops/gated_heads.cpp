// The kernels read z where it lies, a part of a longer row. What backwards read are inputs alone.
#include "ops/gated_heads.h"

#include <c10/core/DeviceGuard.h>
#include <torch/autograd.h>

#include "kernels/device.h"
#include "ops/form.h"
#include "ops/gating.h"
#include "ops/gradient.h"
#include "ops/norm.h"
#include "ops/stream.h"
#include "ops/types.h"

namespace hypenet {
namespace {

using kernels::cuda::NormGateBackwardParams;
using kernels::cuda::NormGateParams;
using kernels::cuda::SkipGateBackwardParams;
using kernels::cuda::SkipGateParams;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

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

/// A parameter as the kernels of whole sequences read it; undefined becomes one without elements.
Tensor parameter_of(const Tensor& x, const Tensor& like) {
  return x.defined() ? x.to(torch::kFloat32)
                     : torch::empty({0}, like.options().dtype(torch::kFloat32));
}

/// z as rows that begin at multiples of 16 bytes, a view where it is such.
Tensor aligned_rows(const Tensor& z) {
  const Tensor rows = rows_of(z);
  return is_aligned(rows) && rows.stride(0) * rows.element_size() % 16 == 0 ? rows : dense(rows);
}

enum SkipSaved { kY, kX, kSkip, kZ, kBias, kWeight };

/// Of dense tensors in the order of SkipSaved, z rows; out is left null.
SkipGateParams skip_params(const variable_list& in, double eps) {
  const Tensor& y = in[kY];
  return {.y = y.const_data_ptr(),
          .x = in[kX].const_data_ptr(),
          .z = in[kZ].const_data_ptr(),
          .z_row = in[kZ].stride(0),
          .skip = in[kSkip].const_data_ptr<float>(),
          .bias = floats_or_null(in[kBias]),
          .weight = in[kWeight].const_data_ptr<float>(),
          .out = nullptr,
          .rows = in[kZ].size(0),
          .heads = y.size(-2),
          .size = y.size(-1),
          .type = kernel_type(y),
          .eps = static_cast<float>(eps)};
}

variable_list skip_inputs(const variable_list& given) {
  variable_list in;
  in.reserve(given.size());
  for (const Tensor& x : given) in.push_back(in.size() == kZ ? aligned_rows(x) : dense(x));
  return in;
}

Tensor skip_by_kernel(const variable_list& in, double eps) {
  const Tensor& y = in[kY];
  const c10::DeviceGuard on_device(y.device());
  const Tensor out = torch::empty(y.flatten(-2).sizes(), y.options());
  SkipGateParams params = skip_params(in, eps);
  params.out = out.mutable_data_ptr();
  throw_unless_ok("skip_gated_heads",
                  kernels::device_kernels().skip_gate(params, current_stream(y)));
  return out;
}

struct SkipGateFunction : torch::autograd::Function<SkipGateFunction> {
  static Tensor forward(AutogradContext* context, const Tensor& y, const Tensor& x,
                        const Tensor& skip, const Tensor& z, const Tensor& bias,
                        const Tensor& weight, double eps) {
    const variable_list in = skip_inputs({y, x, skip, z, bias, weight});
    context->save_for_backward(in);
    context->saved_data["eps"] = eps;
    context->saved_data["z_shape"] = z.sizes().vec();
    return skip_by_kernel(in, eps);
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list in = context->get_saved_variables();
    const Tensor& y = in[kY];
    const c10::DeviceGuard on_device(y.device());
    const Tensor dout = dense(gradients[0]), dy = torch::empty_like(y), dx = torch::empty_like(y);
    const Tensor dz = torch::empty(context->saved_data["z_shape"].toIntVector(), y.options());
    const Tensor dskip = torch::empty({y.size(-2), y.size(-1)}, in[kSkip].options());
    const Tensor dbias = torch::empty_like(in[kBias]), dweight = torch::empty_like(in[kWeight]);
    SkipGateBackwardParams params{
        .forward = skip_params(in, context->saved_data["eps"].toDouble()),
        .dout = dout.const_data_ptr(),
        .dy = dy.mutable_data_ptr(),
        .dx = dx.mutable_data_ptr(),
        .dz = dz.mutable_data_ptr(),
        .parts = nullptr,
        .dskip = dskip.mutable_data_ptr<float>(),
        .dbias = dbias.numel() > 0 ? dbias.mutable_data_ptr<float>() : nullptr,
        .dweight = dweight.mutable_data_ptr<float>(),
        .part_count = 0};
    params.part_count = kernels::device_kernels().skip_gate_parts(params.forward);
    const Tensor parts = torch::empty({3, params.part_count, dweight.numel()}, dweight.options());
    params.parts = parts.mutable_data_ptr<float>();
    throw_unless_ok("skip_gated_heads backward",
                    kernels::device_kernels().skip_gate_backward(params, current_stream(y)));
    return {dy, dx, dskip.sum(-1), dz, dbias, dweight, Tensor()};
  }
};

enum NormSaved { kNormX, kGate, kNormWeight, kNormBias };

/// Of dense tensors in the order of NormSaved; out is left null.
NormGateParams norm_params(const variable_list& in, double eps, bool is_sigmoid) {
  const Tensor& x = in[kNormX];
  return {.x = x.const_data_ptr(),
          .gate = in[kGate].const_data_ptr(),
          .weight = in[kNormWeight].const_data_ptr<float>(),
          .bias = in[kNormBias].const_data_ptr<float>(),
          .out = nullptr,
          .rows = x.numel() / (x.size(-1) * x.size(-2)),
          .heads = x.size(-2),
          .size = x.size(-1),
          .is_sigmoid = is_sigmoid,
          .type = kernel_type(x),
          .eps = static_cast<float>(eps)};
}

Tensor norm_by_kernel(const variable_list& in, double eps, bool is_sigmoid) {
  const Tensor& x = in[kNormX];
  const c10::DeviceGuard on_device(x.device());
  const Tensor out = torch::empty(in[kGate].sizes(), x.options());
  NormGateParams params = norm_params(in, eps, is_sigmoid);
  params.out = out.mutable_data_ptr();
  throw_unless_ok("norm_gated_heads",
                  kernels::device_kernels().norm_gate(params, current_stream(x)));
  return out;
}

struct NormGateFunction : torch::autograd::Function<NormGateFunction> {
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& gate,
                        const Tensor& weight, const Tensor& bias, double eps, bool is_sigmoid) {
    const variable_list in = {dense(x), dense(gate), dense(weight), dense(bias)};
    context->save_for_backward(in);
    context->saved_data["eps"] = eps;
    context->saved_data["is_sigmoid"] = is_sigmoid;
    return norm_by_kernel(in, eps, is_sigmoid);
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list in = context->get_saved_variables();
    const Tensor& x = in[kNormX];
    const c10::DeviceGuard on_device(x.device());
    const Tensor dout = dense(gradients[0]), dx = torch::empty_like(x);
    const Tensor dgate = torch::empty_like(in[kGate]);
    const Tensor dweight = torch::empty_like(in[kNormWeight]);
    const Tensor dbias = torch::empty_like(in[kNormBias]);
    NormGateBackwardParams params{
        .forward = norm_params(in, context->saved_data["eps"].toDouble(),
                               context->saved_data["is_sigmoid"].toBool()),
        .dout = dout.const_data_ptr(),
        .dx = dx.mutable_data_ptr(),
        .dgate = dgate.mutable_data_ptr(),
        .parts = nullptr,
        .dweight = dweight.mutable_data_ptr<float>(),
        .dbias = dbias.mutable_data_ptr<float>(),
        .part_count = 0};
    params.part_count = kernels::device_kernels().norm_gate_parts(params.forward);
    const Tensor parts = torch::empty({2, params.part_count, dweight.numel()}, dweight.options());
    params.parts = parts.mutable_data_ptr<float>();
    throw_unless_ok("norm_gated_heads backward",
                    kernels::device_kernels().norm_gate_backward(params, current_stream(x)));
    return {dx, dgate, dweight, dbias, Tensor(), Tensor()};
  }
};

void check_skip(const Tensor& y, const Tensor& x, const Tensor& skip) {
  HYPENET_CHECK(y.dim() >= 2, "skip_gated_heads: y: expected [.., heads, d], found ", y.sizes());
  check_shape("skip_gated_heads: x", x, y.sizes());
  check_alike("skip_gated_heads: x", x, y);
  check_shape("skip_gated_heads: skip", skip, {y.size(-2)});
}

}  // namespace

Tensor skip_gated_heads(const Tensor& y, const Tensor& x, const Tensor& skip, const Tensor& z,
                        const Tensor& bias, const Tensor& weight, double eps) {
  check_skip(y, x, skip);
  const int64_t heads = y.size(-2), d = y.size(-1);
  const Tensor flat = y.flatten(-2);
  check_shape("skip_gated_heads: z", z, flat.sizes());
  check_alike("skip_gated_heads: z", z, y);
  if (!is_step_head(d) || !suits_cuda_kernels({y, x, skip, z, bias, weight}) || y.numel() == 0) {
    const Tensor whole = y + x * skip.to(y.scalar_type()).unsqueeze(-1);
    return gated_heads(whole.flatten(-2), z, bias, weight, heads, eps);
  }
  if (bias.defined()) check_shape("skip_gated_heads: bias", bias, {heads * d});
  check_shape("skip_gated_heads: weight", weight, {heads * d});
  const Tensor own_skip = skip.to(torch::kFloat32), own_weight = weight.to(torch::kFloat32);
  const Tensor own_bias = parameter_of(bias, y);
  if (needs_gradient({y, x, skip, z, bias, weight})) {
    return SkipGateFunction::apply(y, x, own_skip, z, own_bias, own_weight, eps);
  }
  return skip_by_kernel(skip_inputs({y, x, own_skip, z, own_bias, own_weight}), eps);
}

Tensor norm_gated_heads(const NormGate& in) {
  const Tensor& x = in.x;
  HYPENET_CHECK(x.dim() >= 2, "norm_gated_heads: x: expected [.., heads, d], found ", x.sizes());
  const int64_t heads = x.size(-2), d = x.size(-1);
  check_shape("norm_gated_heads: gate", in.gate, x.flatten(-2).sizes());
  check_alike("norm_gated_heads: gate", in.gate, x);
  check_shape("norm_gated_heads: weight", in.weight, {heads * d});
  check_shape("norm_gated_heads: bias", in.bias, {heads * d});
  if (!is_step_head(d) || !suits_cuda_kernels({x, in.gate, in.weight, in.bias}) || x.numel() == 0) {
    const auto own = [&](const Tensor& y) { return y.to(x.scalar_type()).view({heads, d}); };
    const Tensor normed = torch::layer_norm(x, {d}, {}, {}, in.eps);
    const Tensor y = (normed * own(in.weight) + own(in.bias)).flatten(-2);
    return in.is_sigmoid ? sigmoid_gate(y, in.gate) : y * in.gate;
  }
  const Tensor weight = in.weight.to(torch::kFloat32), bias = in.bias.to(torch::kFloat32);
  if (needs_gradient({x, in.gate, weight, bias})) {
    return NormGateFunction::apply(x, in.gate, weight, bias, in.eps, in.is_sigmoid);
  }
  return norm_by_kernel({dense(x), dense(in.gate), dense(weight), dense(bias)}, in.eps,
                        in.is_sigmoid);
}

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
