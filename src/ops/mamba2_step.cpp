// A GPU's kernel does all of it; other devices, types and head sizes are the composition of the ops
// for many tokens, among them a CPU's recurrence.
#include "ops/mamba2_step.h"

#include <c10/core/DeviceGuard.h>

#include <algorithm>

#include "kernels/device.h"
#include "ops/decay_gate.h"
#include "ops/form.h"
#include "ops/norm.h"
#include "ops/recurrence.h"
#include "ops/stream.h"
#include "ops/types.h"

namespace hypenet {
namespace {

/// Of the channels, those of x, B and C.
std::array<int64_t, 3> widths(const Mamba2StepInput& input) {
  const int64_t N = input.state.size(2), P = input.state.size(3);
  return {input.heads[0] * P, input.heads[1] * N, input.heads[2] * N};
}

void check_gates(const Mamba2StepInput& input, int64_t rows, int64_t H) {
  check_shape("mamba2_step: dt", input.dt, {rows, H});
  check_alike("mamba2_step: dt", input.dt, input.channels);
  check_shape("mamba2_step: D", input.D, {H});
  HYPENET_CHECK(input.A_log.defined() == input.dt_bias.defined(),
                "mamba2_step: expected A_log and dt_bias or neither");
  if (!input.A_log.defined()) return;
  check_shape("mamba2_step: A_log", input.A_log, {H});
  check_shape("mamba2_step: dt_bias", input.dt_bias, {H});
}

void check(const Mamba2StepInput& input) {
  const Tensor &channels = input.channels, &state = input.state;
  HYPENET_CHECK(state.defined() && state.dim() == 4 && state.is_contiguous(),
                "mamba2_step: state: expected contiguous [S, H, N, P], found ",
                state.defined() ? c10::str(state.sizes()) : "no tensor");
  const int64_t H = state.size(1), N = state.size(2);
  HYPENET_CHECK(std::ranges::all_of(input.heads, [H](int64_t n) { return n > 0 && H % n == 0; }),
                "mamba2_step: expected heads in whole groups of ", H);
  const auto [of_x, of_B, of_C] = widths(input);
  HYPENET_CHECK(channels.defined() && channels.dim() == 2 && channels.size(1) == of_x + of_B + of_C,
                "mamba2_step: channels: expected [rows, ", of_x + of_B + of_C, "], found ",
                channels.defined() ? c10::str(channels.sizes()) : "no tensor");
  const int64_t rows = channels.size(0);
  check_gates(input, rows, H);
  check_shape("mamba2_step: slots", input.slots, {rows});
  HYPENET_CHECK(input.slots.scalar_type() == torch::kInt32 && input.slots.is_contiguous() &&
                    input.slots.device() == channels.device(),
                "mamba2_step: slots: expected contiguous Int on ", channels.device(), ", found ",
                input.slots.scalar_type(), " on ", input.slots.device());
  HYPENET_CHECK(input.C_weight.defined() == input.B_weight.defined(),
                "mamba2_step: expected norms of both B and C or of neither");
  if (input.C_weight.defined()) {
    check_shape("mamba2_step: C_weight", input.C_weight, {N});
    check_shape("mamba2_step: B_weight", input.B_weight, {N});
    check_alike("mamba2_step: B_weight", input.B_weight, input.C_weight);
  }
  if (!input.angles.cos.defined()) return;
  check_shape("mamba2_step: angles", input.angles.cos, {rows, N / 2});
  check_shape("mamba2_step: angles: sin", input.angles.sin, {rows, N / 2});
}

kernels::cuda::HeadConstants constants_of(const Tensor& x) {
  if (!x.defined()) return {.x = nullptr, .type = kernels::DType::kFloat32};
  return {.x = x.const_data_ptr(), .type = kernel_type(x)};
}

Tensor step_by_kernel(const Mamba2StepInput& input) {
  const int64_t rows = input.channels.size(0), H = input.state.size(1), d = input.state.size(3);
  const Tensor channels = dense(input.channels);
  const Tensor dt = input.dt.stride(1) == 1 ? input.dt : input.dt.contiguous();
  const Tensor C_weight = dense(input.C_weight), B_weight = dense(input.B_weight);
  const Tensor cos = dense(input.angles.cos), sin = dense(input.angles.sin);
  const Tensor A_log = dense(input.A_log), dt_bias = dense(input.dt_bias), D = dense(input.D);
  const Tensor o = torch::empty({rows, H * d}, channels.options());
  const auto [of_x, of_B, of_C] = input.heads;
  const auto* const first = static_cast<const char*>(channels.const_data_ptr());
  const int64_t row = of_x + of_B + of_C, head = d * channels.element_size();
  kernels::cuda::TokenDecayStepParams params{};
  params.q = {.x = first + (of_x + of_B) * head, .row = row, .heads = of_C};
  params.k = {.x = first + of_x * head, .row = row, .heads = of_B};
  params.v = {.x = first, .row = row, .heads = of_x};
  params.q_weight = data_or_null(C_weight), params.k_weight = data_or_null(B_weight);
  params.cos = floats_or_null(cos), params.sin = floats_or_null(sin);
  params.steps = {.dt = dt.const_data_ptr(),
                  .row = dt.stride(0),
                  .bias = constants_of(dt_bias),
                  .A_log = constants_of(A_log)};
  params.skip = constants_of(D);
  params.slots = input.slots.const_data_ptr<int32_t>();
  params.state = input.state.mutable_data_ptr<float>(), params.o = o.mutable_data_ptr();
  params.rows = rows, params.heads = H, params.size = d;
  params.angle_row = cos.defined() ? d / 2 : 0;
  params.type = kernel_type(channels);
  params.weight_type = C_weight.defined() ? kernel_type(C_weight) : kernels::DType::kFloat32;
  params.scale = 1, params.eps = static_cast<float>(input.eps);
  const c10::DeviceGuard on_device(channels.device());
  throw_unless_ok("mamba2_step",
                  kernels::device_kernels().token_decay_step(params, current_stream(channels)));
  return o;
}

/// The same by tensor code, without waiting for a GPU.
Tensor step_composed(const Mamba2StepInput& input) {
  const int64_t H = input.state.size(1), N = input.state.size(2), P = input.state.size(3);
  const auto parts = input.channels.split_with_sizes(widths(input), -1);
  // Each row is a sequence of one token.
  const auto heads = [](const Tensor& x, int64_t size) {
    return x.unflatten(1, {x.size(1) / size, size}).unsqueeze(1);
  };
  const auto repeated = [H](const Tensor& x) {
    return x.size(2) == H ? x : x.repeat_interleave(H / x.size(2), 2);
  };
  const auto ready = [&](const Tensor& x, const Tensor& weight) {
    const Tensor y = heads(x, N);
    const RopeAngles& angles = input.angles;
    if (!angles.cos.defined()) {
      return repeated(weight.defined() ? rms_norm(y, weight, input.eps) : y);
    }
    const RopeAngles rows = {angles.cos.unsqueeze(1), angles.sin.unsqueeze(1)};
    return repeated(weight.defined() ? norm_rope(y, weight, input.eps, rows) : apply_rope(y, rows));
  };
  const bool has_steps = input.A_log.defined();
  const Tensor none = torch::zeros({H}, input.D.options());
  const Tensor steps = decay_gate(input.dt, none, has_steps ? input.dt_bias : none).unsqueeze(1);
  const Tensor x = repeated(heads(parts[0], P));
  Recurrence rows{.q = ready(parts[2], input.C_weight),
                  .k = ready(parts[1], input.B_weight),
                  .v = x,
                  .decay = steps,
                  .state = input.state};
  if (has_steps) {
    rows.decay = steps * input.A_log.to(steps.scalar_type()).exp();
    rows.beta = steps;
  }
  const Tensor o = recurrence_step(rows, input.slots);
  const Tensor y = (o + x * input.D.to(x.scalar_type()).unsqueeze(-1)).flatten(1);
  return y.masked_fill((input.slots < 0).unsqueeze(1), 0);
}

}  // namespace

Form form_of(const Mamba2StepInput& input) {
  const Tensor& state = input.state;
  const bool suits =
      state.size(2) == state.size(3) && is_step_head(state.size(3)) &&
      suits_cuda_kernels({input.channels, input.C_weight, input.B_weight, input.angles.cos,
                          input.angles.sin, input.A_log, input.dt_bias, input.D, state}) &&
      state.scalar_type() == torch::kFloat32 && is_aligned(state) &&
      (!input.angles.cos.defined() || input.angles.cos.scalar_type() == torch::kFloat32);
  if (suits) return Form::kDevice;
  // Of these the recurrence at least has a kernel.
  return suits_cpu_kernels({input.channels}) && state.size(3) % 4 == 0 ? Form::kCpu
                                                                       : Form::kComposed;
}

Tensor mamba2_step(const Mamba2StepInput& input) {
  const torch::NoGradGuard no_grad;
  check(input);
  return form_of(input) == Form::kDevice ? step_by_kernel(input) : step_composed(input);
}

}  // namespace hypenet
