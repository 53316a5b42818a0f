// A GPU's kernel does all of it; other devices, types and sizes are the composition of the ops for
// many tokens.
#include "ops/slot_step.h"

#include <c10/core/DeviceGuard.h>

#include "kernels/device.h"
#include "ops/decay_gate.h"
#include "ops/form.h"
#include "ops/norm.h"
#include "ops/slot_attention.h"
#include "ops/slot_states.h"
#include "ops/stream.h"
#include "ops/types.h"

namespace hypenet {
namespace {

struct Sizes {
  int64_t N, H, G, d, M, W;
};

Sizes checked_sizes(const SlotStepInput& in) {
  HYPENET_CHECK(in.slot_keys.defined() && in.slot_keys.dim() == 4 && in.slot_keys.is_contiguous(),
                "slot_step: slot_keys: expected contiguous [S, G, d, M], found ",
                in.slot_keys.defined() ? c10::str(in.slot_keys.sizes()) : "no tensor");
  const int64_t S = in.slot_keys.size(0), G = in.slot_keys.size(1), d = in.slot_keys.size(2);
  const int64_t M = in.slot_keys.size(3);
  HYPENET_CHECK(
      in.q.defined() && in.q.dim() == 2 && in.q.size(1) > 0 && in.q.size(1) % (G * d) == 0,
      "slot_step: q: expected [N, H ", d, "] with a multiple H of ", G, ", found ",
      in.q.defined() ? c10::str(in.q.sizes()) : "no tensor");
  const int64_t N = in.q.size(0);
  HYPENET_CHECK(in.window.defined() && in.window.dim() == 4 && in.window.is_contiguous(),
                "slot_step: window: expected contiguous [S, W, G, 3 d + M], found ",
                in.window.defined() ? c10::str(in.window.sizes()) : "no tensor");
  check_shape("slot_step: window", in.window, {S, in.window.size(1), G, 3 * d + M});
  check_shape("slot_step: slot_values", in.slot_values, {S, G, M, d});
  HYPENET_CHECK(in.slot_values.is_contiguous(), "slot_step: slot_values: expected contiguous");
  check_shape("slot_step: k", in.k, {N, G * d});
  check_shape("slot_step: v", in.v, {N, G * d});
  check_shape("slot_step: g", in.g, {N, G * M});
  for (const Tensor* x : {&in.k, &in.v, &in.g}) check_alike("slot_step: k, v, g", *x, in.q);
  check_shape("slot_step: angles", in.angles.cos, {N, d / 2});
  check_shape("slot_step: angles: sin", in.angles.sin, {N, d / 2});
  for (const Tensor* x : {&in.slots, &in.positions}) {
    check_shape("slot_step: slots or positions", *x, {N});
    HYPENET_CHECK(x->scalar_type() == torch::kInt32 && x->device() == in.q.device(),
                  "slot_step: slots or positions: expected Int on ", in.q.device(), ", found ",
                  x->scalar_type(), " on ", x->device());
  }
  HYPENET_CHECK(in.q_weight.defined() == in.k_weight.defined(),
                "slot_step: expected norms of both q and k or of neither");
  if (in.q_weight.defined()) {
    check_shape("slot_step: q_weight", in.q_weight, {d});
    check_shape("slot_step: k_weight", in.k_weight, {d});
  }
  return {N, in.q.size(1) / d, G, d, M, in.window.size(1)};
}

kernels::DType type_of_weight(const Tensor& x) {
  return x.defined() ? kernel_type(x) : kernels::DType::kFloat32;
}

Tensor step_by_kernel(const SlotStepInput& in, const Sizes& s) {
  const Tensor q = dense(in.q), k = dense(in.k), v = dense(in.v), g = dense(in.g);
  const Tensor q_weight = dense(in.q_weight), k_weight = dense(in.k_weight);
  const Tensor cos = dense(in.angles.cos), sin = dense(in.angles.sin);
  const Tensor slots = in.slots.contiguous(), positions = in.positions.contiguous();
  const Tensor o = torch::empty({s.N, s.H, s.d}, q.options());
  const kernels::cuda::SlotStepParams params{
      .q = q.const_data_ptr(),
      .k = k.const_data_ptr(),
      .v = v.const_data_ptr(),
      .g = g.const_data_ptr(),
      .q_weight = data_or_null(q_weight),
      .k_weight = data_or_null(k_weight),
      .cos = cos.const_data_ptr<float>(),
      .sin = sin.const_data_ptr<float>(),
      .slots = slots.const_data_ptr<int32_t>(),
      .positions = positions.const_data_ptr<int32_t>(),
      .slot_keys = in.slot_keys.mutable_data_ptr<float>(),
      .slot_values = in.slot_values.mutable_data_ptr<float>(),
      .window = in.window.mutable_data_ptr<float>(),
      .o = o.mutable_data_ptr(),
      .rows = s.N,
      .heads = s.H,
      .key_heads = s.G,
      .size = s.d,
      .slot_count = s.M,
      .window_size = s.W,
      .angle_row = s.d / 2,
      .type = kernel_type(q),
      .weight_type = type_of_weight(q_weight),
      .normalizer = static_cast<float>(in.normalizer),
      .scale = static_cast<float>(in.scale),
      .eps = static_cast<float>(in.eps)};
  const c10::DeviceGuard on_device(q.device());
  throw_unless_ok("slot_step", kernels::device_kernels().slot_step(params, current_stream(q)));
  return o;
}

/// The same by tensor code, without waiting for a GPU; each row is a sequence of one token.
Tensor step_composed(const SlotStepInput& in, const Sizes& s) {
  const torch::ScalarType type = sum_type(in.q);
  const RopeAngles angles = {in.angles.cos.unsqueeze(1), in.angles.sin.unsqueeze(1)};
  const auto heads = [](const Tensor& x, int64_t size) {
    return x.unflatten(1, {x.size(1) / size, size}).unsqueeze(1);
  };
  const auto normed = [&](const Tensor& x, const Tensor& weight) {
    const Tensor y = heads(x, s.d);
    return weight.defined() ? rms_norm(y, weight, in.eps) : y;
  };
  const Tensor q = normed(in.q, in.q_weight), k = normed(in.k, in.k_weight);
  const auto options = in.g.options().dtype(type);
  const Tensor decay =
      decay_gate(-in.g, torch::zeros({1}, options), torch::zeros({s.G * s.M}, options)) /
      in.normalizer;
  const auto wide = [&](const Tensor& x) { return x.to(type); };
  const Tensor token =
      torch::cat({wide(k), wide(apply_rope(k, angles)), wide(heads(in.v, s.d)), heads(decay, s.M)},
                 -1);  // [N, 1, G, 3 d + M]
  const Tensor places = torch::arange(s.W, in.positions.options().dtype(torch::kInt64));
  const auto mix = [&](const std::vector<Tensor>& inputs, const std::vector<Tensor>& states) {
    const Tensor position = inputs[3].to(torch::kInt64).unsqueeze(1);  // [n, 1]
    const auto row = [&](const Tensor& x) { return x.view({x.size(0), s.W, 1, 1}); };
    // From the oldest to the newest.
    const Tensor order = row((position + places).remainder(s.W));
    const Tensor window = states[2].gather(1, order.expand(states[2].sizes()));
    const std::vector<Tensor> kept =
        torch::cat({window, inputs[2]}, 1).split_with_sizes({s.d, s.d, s.d, s.M}, -1);
    const SlotAttentionOutput found =
        slot_attention({.q = inputs[0],
                        .rotated_q = inputs[1],
                        .k = kept[0],
                        .rotated_k = kept[1],
                        .v = kept[2],
                        .decay = kept[3],
                        .window = s.W,
                        .first_key = (s.W - position).clamp_min(0).squeeze(1),
                        .scale = in.scale,
                        .slot_keys = states[0],
                        .slot_values = states[1]});
    const Tensor is_own = row(places == position.remainder(s.W));
    return SteppedRows{
        found.output,
        {found.slot_keys, found.slot_values, torch::where(is_own, inputs[2], states[2])}};
  };
  return step_rows(in.slots.contiguous(), {q, apply_rope(q, angles), token, in.positions},
                   {in.slot_keys, in.slot_values, in.window}, mix)
      .squeeze(1);
}

}  // namespace

Form form_of(const SlotStepInput& in) {
  const Tensor& keys = in.slot_keys;
  const int64_t G = keys.size(1), d = keys.size(2), M = keys.size(3);
  bool suits = is_slot_step(d, M, in.window.size(1), in.q.size(1) / (G * d)) &&
               suits_cuda_kernels({in.q, in.q_weight, in.k_weight, in.angles.cos, in.angles.sin,
                                   keys, in.slot_values, in.window}) &&
               type_of_weight(in.q_weight) == type_of_weight(in.k_weight);
  for (const Tensor* x : {&keys, &in.slot_values, &in.window, &in.angles.cos, &in.angles.sin}) {
    suits = suits && x->scalar_type() == torch::kFloat32 && is_aligned(*x);
  }
  return suits ? Form::kDevice : Form::kComposed;
}

Tensor slot_step(const SlotStepInput& input) {
  const torch::NoGradGuard no_grad;
  const Sizes sizes = checked_sizes(input);
  return form_of(input) == Form::kDevice ? step_by_kernel(input, sizes)
                                         : step_composed(input, sizes);
}

}  // namespace hypenet
