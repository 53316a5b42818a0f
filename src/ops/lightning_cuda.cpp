// The kernel as an op. The gradients are causal passes too (docs/kernels.md): dq runs forward
// over (do, v, k), dk and dv run backward over (v, do, q) and (k, q, do).
#include <c10/core/DeviceGuard.h>
#include <torch/autograd.h>

#include "kernels/device.h"
#include "ops/recurrence_forms.h"
#include "ops/stream.h"
#include "ops/types.h"

namespace hypenet {
namespace {

using kernels::cuda::LightningParams;
using kernels::cuda::LightningPass;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// What all passes of one call share; `offsets` may be without elements.
LightningParams shared_params(const Tensor& q, const Tensor& decay, const Tensor& offsets,
                              double scale) {
  const bool is_packed = offsets.numel() > 0;
  LightningParams params{};
  params.decay = decay.const_data_ptr<float>();
  params.scale = static_cast<float>(scale);
  params.offsets = is_packed ? offsets.const_data_ptr<int32_t>() : nullptr;
  params.sequences = is_packed ? offsets.numel() - 1 : q.size(0);
  params.tokens = q.size(1);  // a packed sequence has at most all of them
  params.total = q.size(1);
  params.heads = q.size(2);
  params.size = q.size(3);
  return params;
}

Tensor empty_states(const LightningParams& params, const Tensor& like) {
  return torch::empty({params.sequences, params.heads, params.size, params.size},
                      like.options().dtype(torch::kFloat32));
}

struct LightningCudaFunction : torch::autograd::Function<LightningCudaFunction> {
  static variable_list forward(AutogradContext* context, const Tensor& given_q,
                               const Tensor& given_k, const Tensor& given_v, const Tensor& given,
                               const Tensor& decay, const Tensor& offsets, double scale,
                               bool needs_state) {
    context->set_materialize_grads(false);
    const c10::DeviceGuard on_device(given_q.device());
    const Tensor q = dense(given_q), k = dense(given_k), v = dense(given_v);
    const Tensor initial = given.contiguous();
    LightningParams params = shared_params(q, decay, offsets, scale);
    const Tensor output = torch::empty_like(q);
    const Tensor final_state =
        needs_state ? empty_states(params, q) : torch::empty({0}, q.options());
    params.passes[0] = {.q = q.const_data_ptr(),
                        .k = k.const_data_ptr(),
                        .v = v.const_data_ptr(),
                        .o = output.mutable_data_ptr(),
                        .given = floats_or_null(initial),
                        .final_state = needs_state ? final_state.data_ptr<float>() : nullptr};
    throw_unless_ok("lightning", kernels::device_kernels().lightning(params, current_stream(q)));
    context->save_for_backward({q, k, v, initial, decay, offsets});
    context->saved_data["scale"] = scale;
    return {output, final_state};
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const Tensor &q = saved[0], &k = saved[1], &v = saved[2], &initial = saved[3];
    const c10::DeviceGuard on_device(q.device());
    const double scale = context->saved_data["scale"].toDouble();
    const auto inverse = static_cast<float>(1 / scale);
    const Tensor doutput = gradients[0].defined() ? dense(gradients[0]) : torch::zeros_like(q);
    const Tensor dfinal = gradients[1].defined() ? gradients[1].contiguous() : Tensor();
    const Tensor dq = torch::empty_like(q), dk = torch::empty_like(q), dv = torch::empty_like(q);
    LightningParams params = shared_params(q, saved[4], saved[5], scale);
    const Tensor dinitial = context->needs_input_grad(3) ? empty_states(params, q) : Tensor();
    const void *const q_data = q.const_data_ptr(), *const k_data = k.const_data_ptr(),
                      *const v_data = v.const_data_ptr(), *const do_data = doutput.const_data_ptr();
    params.pass_count = 3;
    params.passes[0] = {.q = do_data,
                        .k = v_data,
                        .v = k_data,
                        .o = dq.mutable_data_ptr(),
                        .given = floats_or_null(initial),
                        .final_state = nullptr,
                        .given_transposed = true};
    // The output's factor is in do already where it meets the state, but not in dfinal.
    params.passes[1] = {.q = v_data,
                        .k = do_data,
                        .v = q_data,
                        .o = dk.mutable_data_ptr(),
                        .given = floats_or_null(dfinal),
                        .final_state = nullptr,
                        .given_factor = inverse,
                        .state_lag = 0,
                        .reverse = true,
                        .given_transposed = true};
    params.passes[2] = params.passes[1];
    params.passes[2].q = k_data;
    params.passes[2].k = q_data;
    params.passes[2].v = do_data;
    params.passes[2].o = dv.mutable_data_ptr();
    params.passes[2].given_transposed = false;
    if (dinitial.defined()) params.passes[2].final_state = dinitial.data_ptr<float>();
    params.passes[2].final_factor = static_cast<float>(scale);
    throw_unless_ok("lightning backward",
                    kernels::device_kernels().lightning(params, current_stream(q)));
    return {dq, dk, dv, dinitial, {}, {}, {}, {}};
  }
};

}  // namespace

bool suits_lightning_cuda(const Recurrence& input) {
  if (!suits_cuda_kernels({input.q, input.k, input.v, input.decay, input.state}) ||
      input.q.scalar_type() != torch::kBFloat16 || input.scale == 0) {
    return false;
  }
  const c10::DeviceGuard on_device(input.q.device());
  return kernels::device_kernels().has_lightning(input.q.size(3));
}

RecurrenceOutput lightning_cuda(const Recurrence& input) {
  const Tensor none = torch::empty({0}, input.q.options().dtype(torch::kFloat32));
  const Tensor offsets = input.offsets.defined()
                             ? input.offsets.to(torch::kInt32).contiguous()
                             : torch::empty({0}, none.options().dtype(torch::kInt32));
  const variable_list outputs = LightningCudaFunction::apply(
      input.q, input.k, input.v, input.state.defined() ? input.state : none,
      input.decay.to(torch::kFloat32).contiguous(), offsets, input.scale, input.needs_state);
  return {outputs[0], input.needs_state ? outputs[1] : Tensor()};
}

}  // namespace hypenet
