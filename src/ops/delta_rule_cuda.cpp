// The delta rule's kernels as an op. The backward computes the chunks' states again: what it keeps
// from the forward are the inputs alone.
#include <c10/core/DeviceGuard.h>
#include <torch/autograd.h>

#include "kernels/device.h"
#include "ops/recurrence_forms.h"
#include "ops/stream.h"
#include "ops/types.h"

namespace hypenet {
namespace {

using kernels::cuda::DeltaRuleBackwardParams;
using kernels::cuda::DeltaRuleParams;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t kMostTokens = 65535 * 64;  // chunks are a dimension of the kernels' grids

/// Of dense tensors; `initial` may be without elements. Output, state and scratch are left null.
DeltaRuleParams shared_params(const Tensor& q, const Tensor& k, const Tensor& v,
                              const Tensor& decay, const Tensor& beta, const Tensor& initial,
                              double scale) {
  DeltaRuleParams params{};
  params.q = q.const_data_ptr(), params.k = k.const_data_ptr(), params.v = v.const_data_ptr();
  params.decay = decay.const_data_ptr<float>(), params.beta = beta.const_data_ptr<float>();
  params.given = floats_or_null(initial);
  params.batch = q.size(0), params.tokens = q.size(1), params.heads = q.size(2);
  params.size = q.size(3);
  params.is_per_channel = decay.dim() == 4;
  params.scale = static_cast<float>(scale);
  return params;
}

Tensor scratch_for(const DeltaRuleParams& params, bool is_backward, const Tensor& like) {
  return torch::empty({kernels::device_kernels().delta_rule_bytes(params, is_backward)},
                      like.options().dtype(torch::kUInt8));
}

Tensor empty_states(const Tensor& q) {
  return torch::empty({q.size(0), q.size(2), q.size(3), q.size(3)},
                      q.options().dtype(torch::kFloat32));
}

struct DeltaRuleCudaFunction : torch::autograd::Function<DeltaRuleCudaFunction> {
  static variable_list forward(AutogradContext* context, const Tensor& given_q,
                               const Tensor& given_k, const Tensor& given_v,
                               const Tensor& given_decay, const Tensor& given_beta,
                               const Tensor& given, double scale, bool needs_state) {
    context->set_materialize_grads(false);
    const c10::DeviceGuard on_device(given_q.device());
    const Tensor q = dense(given_q), k = dense(given_k), v = dense(given_v);
    const Tensor decay = dense(given_decay), beta = dense(given_beta), initial = given.contiguous();
    DeltaRuleParams params = shared_params(q, k, v, decay, beta, initial, scale);
    const Tensor output = torch::empty_like(q), scratch = scratch_for(params, false, q);
    const Tensor final_state = needs_state ? empty_states(q) : torch::empty({0}, q.options());
    params.output = output.mutable_data_ptr(), params.scratch = scratch.mutable_data_ptr();
    params.final_state = needs_state ? final_state.mutable_data_ptr<float>() : nullptr;
    throw_unless_ok("delta rule", kernels::device_kernels().delta_rule(params, current_stream(q)));
    context->save_for_backward({q, k, v, decay, beta, initial});
    context->saved_data["scale"] = scale;
    return {output, final_state};
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const Tensor& q = saved[0];
    const c10::DeviceGuard on_device(q.device());
    const double scale = context->saved_data["scale"].toDouble();
    const Tensor doutput = gradients[0].defined() ? dense(gradients[0]) : torch::zeros_like(q);
    const Tensor dfinal = gradients[1].defined() ? gradients[1].contiguous() : Tensor();
    const Tensor dq = torch::empty_like(q), dk = torch::empty_like(q), dv = torch::empty_like(q);
    const Tensor ddecay = torch::empty_like(saved[3]), dbeta = torch::empty_like(saved[4]);
    const Tensor dinitial = context->needs_input_grad(5) ? empty_states(q) : Tensor();
    DeltaRuleBackwardParams params{
        .forward = shared_params(q, saved[1], saved[2], saved[3], saved[4], saved[5], scale),
        .doutput = doutput.const_data_ptr(),
        .dfinal = dfinal.defined() ? dfinal.const_data_ptr<float>() : nullptr,
        .dq = dq.mutable_data_ptr(),
        .dk = dk.mutable_data_ptr(),
        .dv = dv.mutable_data_ptr(),
        .ddecay = ddecay.mutable_data_ptr<float>(),
        .dbeta = dbeta.mutable_data_ptr<float>(),
        .dgiven = dinitial.defined() ? dinitial.mutable_data_ptr<float>() : nullptr};
    const Tensor scratch = scratch_for(params.forward, true, q);
    params.forward.scratch = scratch.mutable_data_ptr();
    throw_unless_ok("delta rule backward",
                    kernels::device_kernels().delta_rule_backward(params, current_stream(q)));
    return {dq, dk, dv, ddecay, dbeta, dinitial, {}, {}};
  }
};

}  // namespace

bool suits_delta_rule_cuda(const Recurrence& input) {
  const Tensor& q = input.q;
  if (!input.is_delta || q.scalar_type() != torch::kBFloat16 || q.sizes() != input.v.sizes() ||
      !suits_cuda_kernels({q, input.k, input.v}) || q.size(1) > kMostTokens) {
    return false;
  }
  const c10::DeviceGuard on_device(q.device());
  return kernels::device_kernels().has_delta_rule(q.size(3), input.decay.dim() == 4);
}

RecurrenceOutput delta_rule_cuda(const Recurrence& input) {
  const auto floats = input.q.options().dtype(torch::kFloat32);
  const auto heads = input.q.sizes().slice(0, 3);  // [B, T, H]
  Tensor decay = input.decay.to(torch::kFloat32);
  if (decay.dim() == 1) decay = decay.expand(heads);
  const Tensor beta =
      input.beta.defined() ? input.beta.to(torch::kFloat32) : torch::ones(heads, floats);
  const variable_list outputs =
      DeltaRuleCudaFunction::apply(input.q, input.k, input.v, decay, beta,
                                   input.state.defined() ? input.state : torch::empty({0}, floats),
                                   input.scale, input.needs_state);
  return {outputs[0], input.needs_state ? outputs[1] : Tensor()};
}

}  // namespace hypenet
