// The kernel does all but the output norm, which needs all heads: it and the gate are a second,
// small pass. Other devices, types and head sizes are the composition of the ops for many tokens.
#include "ops/lightning_step.h"

#include <c10/core/DeviceGuard.h>

#include "kernels/cuda/lightning_step.h"
#include "ops/gating.h"
#include "ops/lightning.h"
#include "ops/norm.h"
#include "ops/stream.h"
#include "ops/types.h"

namespace hypenet {
namespace {

struct Sizes {
  int64_t B, H, G, d;
};

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
  check_shape("lightning_step: state", input.state, {B, H, d, d});
  HYPENET_CHECK(input.state.scalar_type() == sum_type(q), "lightning_step: state: expected type ",
                sum_type(q), ", found ", input.state.scalar_type());
  HYPENET_CHECK(input.state.is_contiguous(), "lightning_step: state: expected it contiguous");
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

bool suits_kernel(const LightningStepInput& input, const Sizes& sizes) {
  const bool aligned = reinterpret_cast<uintptr_t>(input.state.const_data_ptr()) % 16 == 0;
  return aligned && (sizes.d == 64 || sizes.d == 128) &&
         input.decay.scalar_type() == torch::kFloat32 &&
         suits_cuda_kernels({input.q, input.q_weight, input.angles.cos, input.angles.sin,
                             input.decay, input.state});
}

/// scale q S of the state after this token, [B, H d].
Tensor step_cuda(const LightningStepInput& input, const Sizes& sizes) {
  const c10::DeviceGuard on_device(input.q.device());
  const Tensor q = aligned(input.q), k = aligned(input.k), v = aligned(input.v);
  const Tensor q_weight = aligned(input.q_weight), k_weight = aligned(input.k_weight);
  const Tensor cos = aligned(input.angles.cos), sin = aligned(input.angles.sin);
  const Tensor decay = input.decay.contiguous(), o = torch::empty_like(q);
  const bool has_norm = q_weight.defined();
  const kernels::cuda::LightningStepParams params{
      .q = q.const_data_ptr(),
      .k = k.const_data_ptr(),
      .v = v.const_data_ptr(),
      .q_weight = has_norm ? q_weight.const_data_ptr() : nullptr,
      .k_weight = has_norm ? k_weight.const_data_ptr() : nullptr,
      .cos = floats_or_null(cos),
      .sin = floats_or_null(sin),
      .decay = decay.const_data_ptr<float>(),
      .state = input.state.mutable_data_ptr<float>(),
      .o = o.mutable_data_ptr(),
      .batch = sizes.B,
      .heads = sizes.H,
      .key_heads = sizes.G,
      .size = sizes.d,
      .positions = cos.defined() && cos.dim() == 2 ? sizes.B : 1,
      .type = kernel_type(q),
      .weight_type = has_norm ? kernel_type(q_weight) : kernels::DType::kFloat32,
      .scale = static_cast<float>(input.scale),
      .eps = static_cast<float>(input.eps)};
  throw_unless_ok("lightning_step", kernels::cuda::lightning_step(params, current_stream(q)));
  return o;
}

/// The same by the ops for many tokens.
Tensor step_composed(const LightningStepInput& input, const Sizes& sizes) {
  const int64_t B = sizes.B, H = sizes.H, G = sizes.G, d = sizes.d;
  const auto ready = [&](const Tensor& x, int64_t heads, const Tensor& weight) {
    Tensor y = x.reshape({B, 1, heads, d});
    if (weight.defined()) y = rms_norm(y, weight, input.eps);
    if (!input.angles.cos.defined()) return y;
    const int64_t time = input.angles.cos.dim() - 1;  // [1, d / 2] or [B, 1, d / 2]
    return apply_rope(y, {input.angles.cos.unsqueeze(time), input.angles.sin.unsqueeze(time)});
  };
  LightningInput many{.q = ready(input.q, H, input.q_weight),
                      .k = ready(input.k, G, input.k_weight),
                      .v = input.v.reshape({B, 1, G, d})};
  many.k = many.k.repeat_interleave(H / G, 2), many.v = many.v.repeat_interleave(H / G, 2);
  many.decay = input.decay, many.scale = input.scale, many.state = input.state;
  const LightningOutput output = lightning_recurrent(many);
  input.state.copy_(output.state);
  return output.output.reshape({B, H * d});
}

}  // namespace

Tensor lightning_step(const LightningStepInput& input) {
  const torch::NoGradGuard no_grad;
  const Sizes sizes = checked_sizes(input);
  const Tensor o =
      suits_kernel(input, sizes) ? step_cuda(input, sizes) : step_composed(input, sizes);
  if (input.o_weight.defined() && input.gate.defined()) {
    return gated_rms_norm(o, input.o_weight, input.gate, input.eps);
  }
  if (input.o_weight.defined()) return rms_norm(o, input.o_weight, input.eps);
  return input.gate.defined() ? sigmoid_gate(o, input.gate) : o;
}

}  // namespace hypenet
