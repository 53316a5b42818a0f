// Backwards the kernel computes gates and keys again: nothing but the inputs is kept.
#include "ops/rwkv7_gates.h"

#include <c10/core/DeviceGuard.h>
#include <torch/autograd.h>

#include <cmath>

#include "kernels/device.h"
#include "ops/form.h"
#include "ops/gating.h"
#include "ops/gradient.h"
#include "ops/norm.h"
#include "ops/stream.h"
#include "ops/types.h"

namespace hypenet {
namespace {

using kernels::cuda::Rwkv7GatesBackwardParams;
using kernels::cuda::Rwkv7GatesParams;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

enum Saved { kK, kZDecay, kZRate, kW0, kA0, kKK, kKA };

/// most sigmoid(z + start), in the type of sums.
Tensor gate_of(double most, const Tensor& z, const Tensor& start) {
  const Tensor wide = z.to(sum_type(z)) + start.to(sum_type(z)).flatten();
  return sigmoid_gate(torch::full_like(wide, most), wide);
}

Rwkv7Gates composed(const Rwkv7GatesInput& in) {
  const int64_t G = in.k.size(-2), d = in.k.size(-1), H = in.z_decay.size(-1) / d;
  const torch::ScalarType type = sum_type(in.z_decay);
  const auto heads = [&](const Tensor& x) { return x.unflatten(-1, {H, d}); };
  const auto own = [&](const Tensor& x) { return heads(x.to(type).flatten()); };
  const Tensor decay = heads(gate_of(std::exp(-0.5), in.z_decay, in.w0));
  const Tensor rate = heads(gate_of(1, in.z_rate, in.a0));
  const Tensor k = (G == H ? in.k : in.k.repeat_interleave(H / G, -2)).to(type);
  const Tensor kappa = l2_norm(in.k_k.defined() ? k * own(in.k_k) : k, in.eps);
  const Tensor key =
      in.k_k.defined() ? k * (1 + (rate - 1) * own(in.k_a)) : k * (1 - (-decay).exp() + rate);
  return {.key = key, .a = -kappa, .b = kappa * rate, .decay = decay};
}

/// Of dense tensors in the order of Saved, k_k and k_a perhaps without elements; outputs are left
/// null.
Rwkv7GatesParams params_of(const variable_list& in, double eps) {
  const Tensor& k = in[kK];
  const int64_t d = k.size(-1), heads = in[kZDecay].size(-1) / d;
  Rwkv7GatesParams params{};
  params.k = k.const_data_ptr();
  params.z_decay = in[kZDecay].const_data_ptr(), params.z_rate = in[kZRate].const_data_ptr();
  params.w0 = in[kW0].const_data_ptr<float>(), params.a0 = in[kA0].const_data_ptr<float>();
  params.k_k = floats_or_null(in[kKK]), params.k_a = floats_or_null(in[kKA]);
  params.rows = in[kZDecay].numel() / (heads * d), params.heads = heads;
  params.key_heads = k.size(-2), params.size = d;
  params.type = kernel_type(k), params.eps = static_cast<float>(eps);
  return params;
}

variable_list by_kernel(const variable_list& in, double eps) {
  const Tensor& k = in[kK];
  const c10::DeviceGuard on_device(k.device());
  std::vector<int64_t> shape = k.sizes().vec();
  shape[shape.size() - 2] = in[kZDecay].size(-1) / k.size(-1);
  const auto like_k = [&] { return torch::empty(shape, k.options()); };
  const Tensor key = like_k(), a = like_k(), b = like_k();
  const Tensor decay = torch::empty(shape, k.options().dtype(torch::kFloat32));
  Rwkv7GatesParams params = params_of(in, eps);
  params.key = key.mutable_data_ptr(), params.a = a.mutable_data_ptr();
  params.b = b.mutable_data_ptr(), params.decay = decay.mutable_data_ptr<float>();
  throw_unless_ok("rwkv7_gates", kernels::device_kernels().rwkv7_gates(params, current_stream(k)));
  return {key, a, b, decay};
}

struct Rwkv7GatesFunction : torch::autograd::Function<Rwkv7GatesFunction> {
  static variable_list forward(AutogradContext* context, const Tensor& k, const Tensor& z_decay,
                               const Tensor& z_rate, const Tensor& w0, const Tensor& a0,
                               const Tensor& k_k, const Tensor& k_a, double eps) {
    const variable_list in = {dense(k),  dense(z_decay), dense(z_rate), dense(w0),
                              dense(a0), dense(k_k),     dense(k_a)};
    context->save_for_backward(in);
    context->saved_data["eps"] = eps;
    return by_kernel(in, eps);
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list in = context->get_saved_variables();
    const Tensor& k = in[kK];
    const c10::DeviceGuard on_device(k.device());
    const Tensor dkey = dense(gradients[0]), da = dense(gradients[1]), db = dense(gradients[2]);
    const Tensor ddecay = dense(gradients[3]);
    variable_list results;
    results.reserve(in.size() + 1);
    for (const Tensor& x : in) results.push_back(torch::empty_like(x));
    const auto floats = [&](Saved which) {
      return results[which].numel() > 0 ? results[which].mutable_data_ptr<float>() : nullptr;
    };
    Rwkv7GatesBackwardParams params{.forward = params_of(in, context->saved_data["eps"].toDouble()),
                                    .dkey = dkey.const_data_ptr(),
                                    .da = da.const_data_ptr(),
                                    .db = db.const_data_ptr(),
                                    .ddecay = ddecay.const_data_ptr<float>(),
                                    .dk = results[kK].mutable_data_ptr(),
                                    .dz_decay = results[kZDecay].mutable_data_ptr(),
                                    .dz_rate = results[kZRate].mutable_data_ptr(),
                                    .parts = nullptr,
                                    .dw0 = floats(kW0),
                                    .da0 = floats(kA0),
                                    .dk_k = floats(kKK),
                                    .dk_a = floats(kKA),
                                    .part_count = 0};
    params.part_count = kernels::device_kernels().rwkv7_gates_parts(params.forward);
    const Tensor parts = torch::empty({4, params.part_count, in[kW0].numel()}, in[kW0].options());
    params.parts = parts.mutable_data_ptr<float>();
    throw_unless_ok("rwkv7_gates backward",
                    kernels::device_kernels().rwkv7_gates_backward(params, current_stream(k)));
    results.emplace_back();  // eps has none
    return results;
  }
};

void check_input(const Rwkv7GatesInput& in) {
  HYPENET_CHECK(in.k.dim() >= 2, "rwkv7_gates: k: expected [.., G, d], found ", in.k.sizes());
  const int64_t G = in.k.size(-2), d = in.k.size(-1), width = in.z_decay.size(-1);
  HYPENET_CHECK(G * d > 0 && width % (G * d) == 0,
                "rwkv7_gates: z_decay: expected [.., H d] for k ", in.k.sizes(), ", found ",
                in.z_decay.sizes());
  std::vector<int64_t> shape = in.k.sizes().vec();
  shape.pop_back(), shape.back() = width;
  check_shape("rwkv7_gates: z_decay", in.z_decay, shape);
  check_shape("rwkv7_gates: z_rate", in.z_rate, shape);
  check_alike("rwkv7_gates: z_decay", in.z_decay, in.k);
  check_alike("rwkv7_gates: z_rate", in.z_rate, in.k);
  for (const Tensor& x : {in.w0, in.a0, in.k_k, in.k_a}) {
    if (x.defined()) check_shape("rwkv7_gates: parameter", x.flatten(), {width});
  }
}

bool suits_kernel(const Rwkv7GatesInput& in) {
  const int64_t G = in.k.size(-2), d = in.k.size(-1), width = in.z_decay.size(-1);
  return is_step_head(d) && width / G <= kernels::cuda::kMostGatesGroup && in.k.numel() > 0 &&
         suits_cuda_kernels({in.k, in.z_decay, in.z_rate, in.w0, in.a0, in.k_k, in.k_a});
}

}  // namespace

Rwkv7Gates rwkv7_gates(const Rwkv7GatesInput& in) {
  check_input(in);
  if (!suits_kernel(in)) return composed(in);
  const Tensor none = torch::empty({0}, in.k.options().dtype(torch::kFloat32));
  const auto own = [&](const Tensor& x) {
    return x.defined() ? x.to(torch::kFloat32).flatten() : none;
  };
  const Tensor w0 = own(in.w0), a0 = own(in.a0), k_k = own(in.k_k), k_a = own(in.k_a);
  const bool has_graph = needs_gradient({in.k, in.z_decay, in.z_rate, w0, a0, k_k, k_a});
  const variable_list out = has_graph ? variable_list(Rwkv7GatesFunction::apply(
                                            in.k, in.z_decay, in.z_rate, w0, a0, k_k, k_a, in.eps))
                                      : by_kernel({dense(in.k), dense(in.z_decay), dense(in.z_rate),
                                                   dense(w0), dense(a0), dense(k_k), dense(k_a)},
                                                  in.eps);
  return {.key = out[0], .a = out[1], .b = out[2], .decay = out[3]};
}

}  // namespace hypenet
