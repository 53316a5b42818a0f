// The kernels of the recurrence with a decay per token and head as an op. Its backward computes
// the states again: what it keeps from the forward are the inputs alone.
#include <c10/core/DeviceGuard.h>
#include <torch/autograd.h>

#include "kernels/device.h"
#include "ops/form.h"
#include "ops/recurrence_forms.h"
#include "ops/stream.h"
#include "ops/types.h"

namespace hypenet {
namespace {

using kernels::cuda::TokenDecayBackwardParams;
using kernels::cuda::TokenDecayParams;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t kMostTokens = int64_t{1} << 26;  // groups of 1024 are a dimension of a grid

/// Of dense tensors; `beta` and `initial` may be without elements. Output, state and scratch are
/// left null.
TokenDecayParams shared_params(const variable_list& inputs, double scale) {
  const Tensor& q = inputs[0];
  TokenDecayParams params{};
  params.q = q.const_data_ptr(), params.k = inputs[1].const_data_ptr();
  params.v = inputs[2].const_data_ptr();
  params.decay = inputs[3].const_data_ptr<float>();
  params.beta = floats_or_null(inputs[4]), params.given = floats_or_null(inputs[5]);
  params.batch = q.size(0), params.tokens = q.size(1), params.heads = q.size(2);
  params.size = q.size(3);
  params.scale = static_cast<float>(scale);
  return params;
}

Tensor scratch_for(const TokenDecayParams& params, bool is_backward, const Tensor& like) {
  return torch::empty({kernels::device_kernels().token_decay_bytes(params, is_backward)},
                      like.options().dtype(torch::kUInt8));
}

Tensor empty_states(const Tensor& q) {
  return torch::empty({q.size(0), q.size(2), q.size(3), q.size(3)},
                      q.options().dtype(torch::kFloat32));
}

struct TokenDecayCudaFunction : torch::autograd::Function<TokenDecayCudaFunction> {
  static variable_list forward(AutogradContext* context, const Tensor& q, const Tensor& k,
                               const Tensor& v, const Tensor& decay, const Tensor& beta,
                               const Tensor& given, double scale, bool needs_state) {
    context->set_materialize_grads(false);
    const c10::DeviceGuard on_device(q.device());
    const variable_list inputs = {dense(q),     dense(k),    dense(v),
                                  dense(decay), dense(beta), given.contiguous()};
    TokenDecayParams params = shared_params(inputs, scale);
    const Tensor output = torch::empty_like(inputs[0]), scratch = scratch_for(params, false, q);
    const Tensor final_state = needs_state ? empty_states(q) : torch::empty({0}, q.options());
    params.output = output.mutable_data_ptr(), params.scratch = scratch.mutable_data_ptr();
    params.final_state = needs_state ? final_state.mutable_data_ptr<float>() : nullptr;
    throw_unless_ok("token decay",
                    kernels::device_kernels().token_decay(params, current_stream(q)));
    context->save_for_backward(inputs);
    context->saved_data["scale"] = scale;
    return {output, final_state};
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const Tensor& q = saved[0];
    const c10::DeviceGuard on_device(q.device());
    const Tensor doutput = gradients[0].defined() ? dense(gradients[0]) : torch::zeros_like(q);
    const Tensor dfinal = gradients[1].defined() ? gradients[1].contiguous() : Tensor();
    const Tensor dq = torch::empty_like(q), dk = torch::empty_like(q), dv = torch::empty_like(q);
    const Tensor ddecay = torch::empty_like(saved[3]), dbeta = torch::empty_like(saved[4]);
    const Tensor dinitial = context->needs_input_grad(5) ? empty_states(q) : Tensor();
    TokenDecayBackwardParams params{
        .forward = shared_params(saved, context->saved_data["scale"].toDouble()),
        .doutput = doutput.const_data_ptr(),
        .dfinal = dfinal.defined() ? dfinal.const_data_ptr<float>() : nullptr,
        .dq = dq.mutable_data_ptr(),
        .dk = dk.mutable_data_ptr(),
        .dv = dv.mutable_data_ptr(),
        .ddecay = ddecay.mutable_data_ptr<float>(),
        .dbeta = dbeta.numel() > 0 ? dbeta.mutable_data_ptr<float>() : nullptr,
        .dgiven = dinitial.defined() ? dinitial.mutable_data_ptr<float>() : nullptr};
    const Tensor scratch = scratch_for(params.forward, true, q);
    params.forward.scratch = scratch.mutable_data_ptr();
    throw_unless_ok("token decay backward",
                    kernels::device_kernels().token_decay_backward(params, current_stream(q)));
    return {dq, dk, dv, ddecay, dbeta, dinitial, {}, {}};
  }
};

}  // namespace

bool suits_token_decay_cuda(const Recurrence& input) {
  const Tensor& q = input.q;
  if (input.is_delta || input.decay.dim() == 4 || q.scalar_type() != torch::kBFloat16 ||
      q.sizes() != input.v.sizes() || !suits_cuda_kernels({q, input.k, input.v}) ||
      q.size(1) > kMostTokens || input.scale == 0) {
    return false;
  }
  const c10::DeviceGuard on_device(q.device());
  return kernels::device_kernels().has_token_decay(q.size(3));
}

RecurrenceOutput token_decay_cuda(const Recurrence& input) {
  const Tensor none = torch::empty({0}, input.q.options().dtype(torch::kFloat32));
  Tensor decay = input.decay.to(torch::kFloat32);
  if (decay.dim() == 1) decay = decay.expand(input.q.sizes().slice(0, 3));
  const variable_list outputs = TokenDecayCudaFunction::apply(
      input.q, input.k, input.v, decay,
      input.beta.defined() ? input.beta.to(torch::kFloat32) : none,
      input.state.defined() ? input.state : none, input.scale, input.needs_state);
  return {outputs[0], input.needs_state ? outputs[1] : Tensor()};
}

bool suits_token_decay_step(const Recurrence& input) {
  const Tensor& q = input.q;
  return !input.is_delta && input.decay.dim() != 4 && q.sizes() == input.v.sizes() &&
         is_step_head(q.size(3)) && suits_cuda_kernels({q, input.k, input.v, input.state}) &&
         input.state.is_contiguous() && is_aligned(input.state);
}

Tensor token_decay_step_cuda(const Recurrence& input, const Tensor& slots) {
  const Tensor q = dense(input.q), k = dense(input.k), v = dense(input.v), o = torch::empty_like(q);
  const int64_t N = q.size(0), H = q.size(2);
  const auto floats = [&](const Tensor& x) {
    return x.defined() ? x.to(torch::kFloat32).expand({N, 1, H}).contiguous() : x;
  };
  const Tensor decay = floats(input.decay), beta = floats(input.beta);
  const auto rows = [H](const Tensor& x) {
    return kernels::cuda::RowHeads{.x = x.const_data_ptr(), .row = H, .heads = H};
  };
  kernels::cuda::TokenDecayStepParams params{};
  params.q = rows(q), params.k = rows(k), params.v = rows(v);
  params.decay = decay.const_data_ptr<float>(), params.beta = floats_or_null(beta);
  params.slots = slots.defined() ? slots.const_data_ptr<int32_t>() : nullptr;
  params.state = input.state.mutable_data_ptr<float>(), params.o = o.mutable_data_ptr();
  params.rows = N, params.heads = H, params.size = q.size(3);
  params.type = kernel_type(q), params.scale = static_cast<float>(input.scale);
  const c10::DeviceGuard on_device(q.device());
  throw_unless_ok("recurrence_step",
                  kernels::device_kernels().token_decay_step(params, current_stream(q)));
  return o;
}

}  // namespace hypenet
