// RWKV-7's kernels as an op. The backward computes the chunks' states again: what it keeps from the
// forward are the inputs alone.
#include <c10/core/DeviceGuard.h>
#include <torch/autograd.h>

#include "kernels/device.h"
#include "ops/dplr_forms.h"
#include "ops/stream.h"
#include "ops/types.h"

namespace hypenet {
namespace {

using kernels::cuda::DplrBackwardParams;
using kernels::cuda::DplrParams;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t kMostTokens = 65535 * 64;  // chunks are a dimension of the kernels' grids
enum Saved { kR, kK, kA, kB, kV, kDecay, kInitial };

/// Of dense tensors, in the order of Saved; the initial state may be without elements. Output,
/// state and scratch are left null.
DplrParams shared_params(const variable_list& x) {
  DplrParams params{};
  params.r = x[kR].const_data_ptr(), params.k = x[kK].const_data_ptr();
  params.a = x[kA].const_data_ptr(), params.b = x[kB].const_data_ptr();
  params.v = x[kV].const_data_ptr(), params.decay = x[kDecay].const_data_ptr<float>();
  params.given = floats_or_null(x[kInitial]);
  params.batch = x[kR].size(0), params.tokens = x[kR].size(1), params.heads = x[kR].size(2);
  params.size = x[kR].size(3);
  return params;
}

Tensor scratch_for(const DplrParams& params, bool is_backward, const Tensor& like) {
  return torch::empty({kernels::device_kernels().dplr_bytes(params, is_backward)},
                      like.options().dtype(torch::kUInt8));
}

Tensor empty_states(const Tensor& r) {
  return torch::empty({r.size(0), r.size(2), r.size(3), r.size(3)},
                      r.options().dtype(torch::kFloat32));
}

struct DplrCudaFunction : torch::autograd::Function<DplrCudaFunction> {
  static variable_list forward(AutogradContext* context, const Tensor& r, const Tensor& k,
                               const Tensor& a, const Tensor& b, const Tensor& v,
                               const Tensor& decay, const Tensor& initial) {
    context->set_materialize_grads(false);
    const c10::DeviceGuard on_device(r.device());
    const variable_list inputs = {
        dense(r), dense(k), dense(a), dense(b), dense(v), dense(decay), initial.contiguous()};
    DplrParams params = shared_params(inputs);
    const Tensor output = torch::empty_like(inputs[kR]), final_state = empty_states(r);
    const Tensor scratch = scratch_for(params, false, r);
    params.output = output.mutable_data_ptr(), params.scratch = scratch.mutable_data_ptr();
    params.final_state = final_state.mutable_data_ptr<float>();
    throw_unless_ok("dplr", kernels::device_kernels().dplr(params, current_stream(r)));
    context->save_for_backward(inputs);
    return {output, final_state};
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const Tensor& r = saved[kR];
    const c10::DeviceGuard on_device(r.device());
    const Tensor doutput = gradients[0].defined() ? dense(gradients[0]) : torch::zeros_like(r);
    const Tensor dfinal = gradients[1].defined() ? gradients[1].contiguous() : Tensor();
    const auto like_r = [&] { return torch::empty_like(r); };
    const Tensor dr = like_r(), dk = like_r(), da = like_r(), db = like_r(), dv = like_r();
    const Tensor ddecay = torch::empty_like(saved[kDecay]);
    const Tensor dinitial = context->needs_input_grad(kInitial) ? empty_states(r) : Tensor();
    DplrBackwardParams params{
        .forward = shared_params(saved),
        .doutput = doutput.const_data_ptr(),
        .dfinal = dfinal.defined() ? dfinal.const_data_ptr<float>() : nullptr,
        .dr = dr.mutable_data_ptr(),
        .dk = dk.mutable_data_ptr(),
        .da = da.mutable_data_ptr(),
        .db = db.mutable_data_ptr(),
        .dv = dv.mutable_data_ptr(),
        .ddecay = ddecay.mutable_data_ptr<float>(),
        .dgiven = dinitial.defined() ? dinitial.mutable_data_ptr<float>() : nullptr};
    const Tensor scratch = scratch_for(params.forward, true, r);
    params.forward.scratch = scratch.mutable_data_ptr();
    throw_unless_ok("dplr backward",
                    kernels::device_kernels().dplr_backward(params, current_stream(r)));
    return {dr, dk, da, db, dv, ddecay, dinitial};
  }
};

}  // namespace

bool suits_dplr_cuda(const DplrRecurrence& in) {
  const Tensor& r = in.r;
  if (r.scalar_type() != torch::kBFloat16 || in.v.scalar_type() != torch::kBFloat16 ||
      r.sizes() != in.v.sizes() || !suits_cuda_kernels({r, in.k, in.a, in.b, in.v, in.decay}) ||
      r.size(1) > kMostTokens) {
    return false;
  }
  const c10::DeviceGuard on_device(r.device());
  return kernels::device_kernels().has_dplr(r.size(3));
}

RecurrenceOutput dplr_cuda(const DplrRecurrence& in) {
  const auto rounded = [](const Tensor& x) { return x.to(torch::kBFloat16); };
  const Tensor initial =
      in.state.defined() ? in.state : torch::empty({0}, in.r.options().dtype(torch::kFloat32));
  const variable_list outputs =
      DplrCudaFunction::apply(in.r, rounded(in.k), rounded(in.a), rounded(in.b), in.v,
                              in.decay.to(torch::kFloat32), initial);
  return {outputs[0], outputs[1]};
}

}  // namespace hypenet
