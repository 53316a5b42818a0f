// The kernels do all but the output norm, which needs all heads: it and the gate are a second,
// small pass. Other devices, types and head sizes are the composition of the ops for many tokens.
#include "ops/lightning_step.h"

#include <ATen/Parallel.h>
#include <c10/core/DeviceGuard.h>

#include "kernels/device.h"
#include "ops/form.h"
#include "ops/gating.h"
#include "ops/norm.h"
#include "ops/recurrence.h"
#include "ops/stream.h"
#include "ops/types.h"

namespace hypenet {
namespace {

constexpr int64_t kGrain = 32768;  // numbers of states a task

struct Sizes {
  int64_t B, H, G, d;
};

/// The states' shape, and which row has which.
void check_states(const LightningStepInput& input, const Sizes& sizes) {
  const int64_t S = input.slots.defined() && input.state.defined() ? input.state.size(0) : sizes.B;
  check_shape("lightning_step: state", input.state, {S, sizes.H, sizes.d, sizes.d});
  HYPENET_CHECK(input.state.scalar_type() == sum_type(input.q),
                "lightning_step: state: expected type ", sum_type(input.q), ", found ",
                input.state.scalar_type());
  HYPENET_CHECK(input.state.is_contiguous(), "lightning_step: state: expected it contiguous");
  if (!input.slots.defined()) return;
  check_shape("lightning_step: slots", input.slots, {sizes.B});
  HYPENET_CHECK(input.slots.scalar_type() == torch::kInt32 &&
                    input.slots.device() == input.q.device() && input.slots.is_contiguous(),
                "lightning_step: slots: expected contiguous Int on ", input.q.device(), ", found ",
                input.slots.scalar_type(), " on ", input.slots.device());
  if (!input.slots.is_cpu()) return;
  for (int64_t n = 0; n < sizes.B; ++n) {
    const int32_t slot = input.slots.const_data_ptr<int32_t>()[n];
    HYPENET_CHECK(slot < S, "lightning_step: slots: expected less than ", S, ", found ", slot);
  }
}

Sizes checked_sizes(const LightningStepInput& input) {
  const Tensor &q = input.q, &k = input.k;
  HYPENET_CHECK(q.dim() == 2 && k.dim() == 2 && input.decay.dim() == 1,
                "lightning_step: expected q [B, H d], k [B, G d] and decay [H], found ", q.sizes(),
                ", ", k.sizes(), " and ", input.decay.sizes());
  HYPENET_CHECK(input.decay.size(0) > 0 && q.size(1) >= input.decay.size(0),
                "lightning_step: expected q [B, H d] for the ", input.decay.size(0),
                " heads of decay, found ", q.sizes());
  const int64_t B = q.size(0), H = input.decay.size(0), d = q.size(1) / H, G = k.size(1) / d;
  check_shape("lightning_step: q", q, {B, H * d});
  check_shape("lightning_step: k", k, {B, G * d});
  check_shape("lightning_step: v", input.v, {B, G * d});
  check_alike("lightning_step: k", k, q);
  check_alike("lightning_step: v", input.v, q);
  HYPENET_CHECK(G > 0 && H % G == 0, "lightning_step: expected query heads in whole groups, found ",
                H, " for ", G, " key heads");
  check_states(input, {B, H, G, d});
  HYPENET_CHECK(input.q_weight.defined() == input.k_weight.defined(),
                "lightning_step: expected norms of both q and k or of neither");
  if (input.q_weight.defined()) {
    check_shape("lightning_step: q_weight", input.q_weight, {d});
    check_shape("lightning_step: k_weight", input.k_weight, {d});
    check_alike("lightning_step: k_weight", input.k_weight, input.q_weight);
  }
  if (!input.angles.cos.defined()) return {B, H, G, d};
  if (input.angles.cos.dim() == 1) {
    check_shape("lightning_step: angles", input.angles.cos, {d / 2});
  } else {
    check_shape("lightning_step: angles", input.angles.cos, {B, d / 2});
  }
  check_shape("lightning_step: angles: sin", input.angles.sin, input.angles.cos.sizes());
  return {B, H, G, d};
}

int64_t head_size(const LightningStepInput& input) { return input.q.size(1) / input.decay.size(0); }

bool suits_device(const LightningStepInput& input) {
  const int64_t d = head_size(input);
  return is_aligned(input.state) && is_step_head(d) &&
         input.decay.scalar_type() == torch::kFloat32 &&
         suits_cuda_kernels({input.q, input.q_weight, input.angles.cos, input.angles.sin,
                             input.decay, input.state});
}

bool suits_cpu(const LightningStepInput& input) {
  const auto is_weight = [](const Tensor& x) {
    return !x.defined() || suits_cpu_kernels({x}) ||
           (x.is_cpu() && x.scalar_type() == torch::kBFloat16);
  };
  const bool has_rope = input.angles.cos.defined();
  return suits_cpu_kernels({input.q, input.decay}) && is_weight(input.q_weight) &&
         (!has_rope || suits_cpu_kernels({input.angles.cos, input.angles.sin})) &&
         head_size(input) % 4 == 0;
}

/// scale q S of the state after this token, [B, H d], by the kernel of q's device.
Tensor step_by_kernel(const LightningStepInput& input, const Sizes& sizes) {
  const Tensor q = dense(input.q), k = dense(input.k), v = dense(input.v);
  const Tensor q_weight = dense(input.q_weight), k_weight = dense(input.k_weight);
  const Tensor cos = dense(input.angles.cos), sin = dense(input.angles.sin);
  const Tensor decay = input.decay.contiguous(), o = torch::empty_like(q);
  const kernels::LightningStepParams params{
      .q = q.const_data_ptr(),
      .k = k.const_data_ptr(),
      .v = v.const_data_ptr(),
      .q_weight = data_or_null(q_weight),
      .k_weight = data_or_null(k_weight),
      .cos = floats_or_null(cos),
      .sin = floats_or_null(sin),
      .decay = decay.const_data_ptr<float>(),
      .slots = input.slots.defined() ? input.slots.const_data_ptr<int32_t>() : nullptr,
      .state = input.state.mutable_data_ptr<float>(),
      .o = o.mutable_data_ptr(),
      .rows = sizes.B,
      .heads = sizes.H,
      .key_heads = sizes.G,
      .size = sizes.d,
      .angle_row = cos.defined() && cos.dim() == 2 ? sizes.d / 2 : 0,
      .type = kernel_type(q),
      .weight_type = q_weight.defined() ? kernel_type(q_weight) : kernels::DType::kFloat32,
      .scale = static_cast<float>(input.scale),
      .eps = static_cast<float>(input.eps)};
  if (q.is_cuda()) {
    const c10::DeviceGuard on_device(q.device());
    throw_unless_ok("lightning_step",
                    kernels::device_kernels().lightning_step(params, current_stream(q)));
    return o;
  }
  const int64_t grain = kGrain / (sizes.B * sizes.d * sizes.d + 1) + 1;
  at::parallel_for(0, sizes.H, grain, [&](int64_t begin, int64_t end) {
    std::vector<float> scratch(2 * sizes.d);
    kernels::lightning_step(params, begin, end, scratch.data());
  });
  return o;
}

/// The same by tensor code, without waiting for a GPU.
Tensor step_composed(const LightningStepInput& input, const Sizes& sizes) {
  const int64_t B = sizes.B, H = sizes.H, G = sizes.G, d = sizes.d;
  const auto ready = [&](const Tensor& x, int64_t heads, const Tensor& weight) {
    Tensor y = x.reshape({B, 1, heads, d});
    if (weight.defined()) y = rms_norm(y, weight, input.eps);
    if (!input.angles.cos.defined()) return y;
    const int64_t time = input.angles.cos.dim() - 1;  // [1, d / 2] or [B, 1, d / 2]
    return apply_rope(y, {input.angles.cos.unsqueeze(time), input.angles.sin.unsqueeze(time)});
  };
  Recurrence rows{.q = ready(input.q, H, input.q_weight),
                  .k = ready(input.k, G, input.k_weight),
                  .v = input.v.reshape({B, 1, G, d})};
  rows.k = rows.k.repeat_interleave(H / G, 2), rows.v = rows.v.repeat_interleave(H / G, 2);
  rows.decay = input.decay, rows.scale = input.scale, rows.state = input.state;
  return recurrence_step(rows, input.slots).reshape({B, H * d});
}

/// scale q S by the form that takes this input.
Tensor step(const LightningStepInput& input, const Sizes& sizes) {
  return form_of(input) == Form::kComposed ? step_composed(input, sizes)
                                           : step_by_kernel(input, sizes);
}

}  // namespace

Form form_of(const LightningStepInput& input) {
  if (suits_device(input)) return Form::kDevice;
  return suits_cpu(input) ? Form::kCpu : Form::kComposed;
}

Tensor lightning_step(const LightningStepInput& input) {
  const torch::NoGradGuard no_grad;
  const Sizes sizes = checked_sizes(input);
  const Tensor o = step(input, sizes);
  if (input.o_weight.defined() && input.gate.defined()) {
    return gated_rms_norm(o, input.o_weight, input.gate, input.eps);
  }
  if (input.o_weight.defined()) return rms_norm(o, input.o_weight, input.eps);
  return input.gate.defined() ? sigmoid_gate(o, input.gate) : o;
}

}  // namespace hypenet
