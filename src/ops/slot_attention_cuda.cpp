// The kernels of slot attention as an op. The backward computes the chunks' slots again: what it
// keeps from the forward are the inputs and the logarithm of each softmax's sum.
#include <c10/core/DeviceGuard.h>
#include <torch/autograd.h>

#include "kernels/device.h"
#include "ops/gradient.h"
#include "ops/slot_attention_forms.h"
#include "ops/stream.h"
#include "ops/types.h"

namespace hypenet {
namespace {

using kernels::cuda::SlotAttentionBackwardParams;
using kernels::cuda::SlotAttentionParams;
using kernels::cuda::SlotAttentionSizes;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t kChunk = 64;  // of the kernels

/// What autograd looks at, in the order of the gradients; the last three may be without elements.
enum Input { kQ, kRotatedQ, kK, kRotatedK, kV, kDecay, kSlotKeys, kSlotValues, kFirstKey, kInputs };

SlotAttentionSizes sizes_of(const Tensor& q, const Tensor& k, const Tensor& decay, int64_t window) {
  return {.batch = q.size(0),
          .tokens = q.size(1),
          .past = k.size(1) - q.size(1),
          .heads = q.size(2),
          .key_heads = k.size(2),
          .size = q.size(3),
          .slots = decay.size(3),
          .window = window};
}

/// Of dense inputs. Output, sums, final slots and scratch are left null.
SlotAttentionParams shared_params(const variable_list& in, int64_t window, double scale) {
  SlotAttentionParams params{};
  params.sizes = sizes_of(in[kQ], in[kK], in[kDecay], window);
  params.q = in[kQ].const_data_ptr(), params.rotated_q = in[kRotatedQ].const_data_ptr();
  params.k = in[kK].const_data_ptr(), params.rotated_k = in[kRotatedK].const_data_ptr();
  params.v = in[kV].const_data_ptr(), params.decay = in[kDecay].const_data_ptr<float>();
  params.given_keys = floats_or_null(in[kSlotKeys]);
  params.given_values = floats_or_null(in[kSlotValues]);
  if (in[kFirstKey].numel() > 0) params.first_key = in[kFirstKey].const_data_ptr<int64_t>();
  params.scale = static_cast<float>(scale);
  return params;
}

Tensor scratch_for(const SlotAttentionSizes& sizes, bool is_backward, const Tensor& like) {
  return torch::empty({kernels::device_kernels().slot_attention_bytes(sizes, is_backward)},
                      like.options().dtype(torch::kUInt8));
}

Tensor empty_floats(torch::IntArrayRef shape, const Tensor& like) {
  return torch::empty(shape, like.options().dtype(torch::kFloat32));
}

/// Keys or values of slots.
Tensor empty_slots(const SlotAttentionSizes& s, bool are_keys, const Tensor& like) {
  const int64_t rows = are_keys ? s.size : s.slots, columns = are_keys ? s.slots : s.size;
  return empty_floats({s.batch, s.key_heads, rows, columns}, like);
}

float* floats_to(const Tensor& x) { return x.defined() ? x.mutable_data_ptr<float>() : nullptr; }

struct SlotAttentionCudaFunction : torch::autograd::Function<SlotAttentionCudaFunction> {
  static variable_list forward(AutogradContext* context, const Tensor& q, const Tensor& rotated_q,
                               const Tensor& k, const Tensor& rotated_k, const Tensor& v,
                               const Tensor& decay, const Tensor& slot_keys,
                               const Tensor& slot_values, const Tensor& first_key, int64_t window,
                               double scale, bool needs_slots, bool needs_gradient) {
    context->set_materialize_grads(false);
    const c10::DeviceGuard on_device(q.device());
    variable_list in(kInputs);
    const Tensor* const given[] = {&q,     &rotated_q, &k,           &rotated_k, &v,
                                   &decay, &slot_keys, &slot_values, &first_key};
    for (size_t i = 0; i < kInputs; ++i) in[i] = dense(*given[i]);
    SlotAttentionParams params = shared_params(in, window, scale);
    const SlotAttentionSizes& s = params.sizes;
    const Tensor output = torch::empty_like(in[kQ]), none = torch::empty({0}, q.options());
    const Tensor scratch = scratch_for(s, false, q);
    const Tensor log_sums =
        needs_gradient
            ? empty_floats({s.batch, s.heads, (s.tokens + kChunk - 1) / kChunk * kChunk}, q)
            : Tensor();
    const Tensor keys = needs_slots ? empty_slots(s, true, q) : Tensor();
    const Tensor values = needs_slots ? empty_slots(s, false, q) : Tensor();
    params.output = output.mutable_data_ptr(), params.scratch = scratch.mutable_data_ptr();
    params.log_sums = floats_to(log_sums);
    params.final_keys = floats_to(keys), params.final_values = floats_to(values);
    throw_unless_ok("slot attention",
                    kernels::device_kernels().slot_attention(params, current_stream(q)));
    if (needs_gradient) {
      in.push_back(log_sums);
      context->save_for_backward(in);
    }
    context->saved_data["window"] = window, context->saved_data["scale"] = scale;
    return {output, needs_slots ? keys : none, needs_slots ? values : none};
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list in = context->get_saved_variables();
    const Tensor& q = in[kQ];
    const c10::DeviceGuard on_device(q.device());
    SlotAttentionBackwardParams params{};
    SlotAttentionParams& forward = params.forward;
    forward = shared_params(in, context->saved_data["window"].toInt(),
                            context->saved_data["scale"].toDouble());
    const SlotAttentionSizes& s = forward.sizes;
    forward.log_sums = in[kInputs].mutable_data_ptr<float>();
    const Tensor doutput = gradients[0].defined() ? dense(gradients[0]) : torch::zeros_like(q);
    const Tensor dfinal_keys = dense(gradients[1]), dfinal_values = dense(gradients[2]);
    params.doutput = doutput.const_data_ptr();
    params.dfinal_keys = floats_or_null(dfinal_keys);
    params.dfinal_values = floats_or_null(dfinal_values);
    variable_list out(13);
    for (size_t i = kQ; i <= kDecay; ++i) out[i] = torch::empty_like(in[i]);
    if (context->needs_input_grad(kSlotKeys)) out[kSlotKeys] = empty_slots(s, true, q);
    if (context->needs_input_grad(kSlotValues)) out[kSlotValues] = empty_slots(s, false, q);
    params.dq = out[kQ].mutable_data_ptr();
    params.drotated_q = out[kRotatedQ].mutable_data_ptr();
    params.dk = out[kK].mutable_data_ptr();
    params.drotated_k = out[kRotatedK].mutable_data_ptr();
    params.dv = out[kV].mutable_data_ptr(), params.ddecay = floats_to(out[kDecay]);
    params.dgiven_keys = floats_to(out[kSlotKeys]);
    params.dgiven_values = floats_to(out[kSlotValues]);
    const Tensor scratch = scratch_for(s, true, q);
    forward.scratch = scratch.mutable_data_ptr();
    throw_unless_ok("slot attention backward",
                    kernels::device_kernels().slot_attention_backward(params, current_stream(q)));
    return out;
  }
};

}  // namespace

bool suits_slot_attention_cuda(const SlotAttention& in) {
  if (!suits_cuda_kernels(
          {in.q, in.rotated_q, in.k, in.rotated_k, in.v, in.decay, in.slot_keys, in.slot_values})) {
    return false;
  }
  for (const Tensor* x : {&in.q, &in.rotated_q, &in.k, &in.rotated_k, &in.v}) {
    if (x->scalar_type() != torch::kBFloat16) return false;
  }
  const c10::DeviceGuard on_device(in.q.device());
  return kernels::device_kernels().has_slot_attention(sizes_of(in.q, in.k, in.decay, in.window));
}

SlotAttentionOutput slot_attention_cuda(const SlotAttention& in) {
  const Tensor none = torch::empty({0}, in.q.options().dtype(torch::kFloat32));
  const auto floats = [&](const Tensor& x) { return x.defined() ? x.to(torch::kFloat32) : none; };
  const bool needs = needs_gradient(
      {in.q, in.rotated_q, in.k, in.rotated_k, in.v, in.decay, in.slot_keys, in.slot_values});
  const Tensor first_key = in.first_key.defined() ? in.first_key.to(in.q.device(), torch::kInt64)
                                                  : none.to(torch::kInt64);
  const variable_list out = SlotAttentionCudaFunction::apply(
      in.q, in.rotated_q, in.k, in.rotated_k, in.v, in.decay.to(torch::kFloat32),
      floats(in.slot_keys), floats(in.slot_values), first_key, in.window, in.scale, in.needs_slots,
      needs);
  if (!in.needs_slots) return {out[0], {}, {}};
  return {out[0], out[1], out[2]};
}

}  // namespace hypenet
