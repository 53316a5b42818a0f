// A GPU's kernel does all of it; other devices, types and head sizes are the composition of the ops
// for many tokens, among them a CPU's recurrence.
#include "ops/delta_step.h"

#include <c10/core/DeviceGuard.h>

#include "kernels/device.h"
#include "ops/decay_gate.h"
#include "ops/form.h"
#include "ops/norm.h"
#include "ops/recurrence.h"
#include "ops/stream.h"
#include "ops/types.h"

namespace hypenet {
namespace {

struct Sizes {
  int64_t N, H, dk, dv;
};

/// x [N, heads size], of which H is a multiple.
void check_heads(const char* place, const Tensor& x, int64_t N, int64_t H, int64_t size) {
  HYPENET_CHECK(x.defined() && x.dim() == 2 && x.size(0) == N && x.size(1) > 0 &&
                    x.size(1) % size == 0 && H % (x.size(1) / size) == 0,
                place, ": expected [", N, ", heads ", size, "] for whole groups of ", H,
                " heads, found ", x.defined() ? c10::str(x.sizes()) : "no tensor");
}

Sizes checked_sizes(const DeltaStepInput& input) {
  const Tensor &q = input.q, &state = input.state, &z = input.z;
  HYPENET_CHECK(state.defined() && state.dim() == 4 && state.is_contiguous(),
                "delta_step: state: expected contiguous [S, H, dk, dv], found ",
                state.defined() ? c10::str(state.sizes()) : "no tensor");
  HYPENET_CHECK(q.defined() && q.dim() == 2, "delta_step: q: expected [N, heads dk], found ",
                q.defined() ? c10::str(q.sizes()) : "no tensor");
  const int64_t N = q.size(0), H = state.size(1), dk = state.size(2), dv = state.size(3);
  check_heads("delta_step: q", q, N, H, dk);
  check_heads("delta_step: k", input.k, N, H, dk);
  check_heads("delta_step: v", input.v, N, H, dv);
  const bool is_per_channel = z.defined() && z.dim() == 2 && z.size(1) == H * dk;
  check_shape("delta_step: z", z, {N, is_per_channel ? H * dk : H});
  check_shape("delta_step: b", input.b, {N, H});
  check_shape("delta_step: dt_bias", input.dt_bias, {z.size(1)});
  HYPENET_CHECK(input.A_log.defined() && input.A_log.numel() == H, "delta_step: A_log: expected ",
                H, " numbers, found ",
                input.A_log.defined() ? c10::str(input.A_log.sizes()) : "no tensor");
  check_alike("delta_step: k", input.k, q);
  check_alike("delta_step: v", input.v, q);
  check_shape("delta_step: slots", input.slots, {N});
  HYPENET_CHECK(input.slots.scalar_type() == torch::kInt32 && input.slots.device() == q.device(),
                "delta_step: slots: expected Int on ", q.device(), ", found ",
                input.slots.scalar_type(), " on ", input.slots.device());
  HYPENET_CHECK(input.q_weight.defined() == input.k_weight.defined(),
                "delta_step: expected norms of both q and k or of neither");
  if (input.q_weight.defined()) {
    check_shape("delta_step: q_weight", input.q_weight, {dk});
    check_shape("delta_step: k_weight", input.k_weight, {dk});
  }
  if (input.angles.cos.defined()) {
    check_shape("delta_step: angles", input.angles.cos, {N, dk / 2});
    check_shape("delta_step: angles: sin", input.angles.sin, {N, dk / 2});
  }
  return {N, H, dk, dv};
}

bool is_type(const Tensor& x, torch::ScalarType type) {
  return !x.defined() || x.scalar_type() == type;
}

kernels::DType type_or_float(const Tensor& x) {
  return x.defined() ? kernel_type(x) : kernels::DType::kFloat32;
}

Tensor step_by_kernel(const DeltaStepInput& input, const Sizes& sizes) {
  const Tensor q = dense(input.q), k = dense(input.k), v = dense(input.v);
  const Tensor q_weight = dense(input.q_weight), k_weight = dense(input.k_weight);
  const Tensor cos = dense(input.angles.cos), sin = dense(input.angles.sin);
  const Tensor z = dense(input.z), b = dense(input.b), bias = dense(input.dt_bias);
  const Tensor A_log = dense(input.A_log), slots = input.slots.contiguous();
  const Tensor o = torch::empty({sizes.N, sizes.H, sizes.dv}, q.options());
  const kernels::cuda::DeltaStepParams params{
      .q = q.const_data_ptr(),
      .k = k.const_data_ptr(),
      .v = v.const_data_ptr(),
      .q_weight = data_or_null(q_weight),
      .k_weight = data_or_null(k_weight),
      .cos = floats_or_null(cos),
      .sin = floats_or_null(sin),
      .decay = {.z = z.const_data_ptr(),
                .A_log = A_log.const_data_ptr(),
                .dt_bias = bias.const_data_ptr(),
                .size = z.size(1) / sizes.H,
                .A_log_type = kernel_type(A_log),
                .dt_bias_type = kernel_type(bias),
                .lower_bound = static_cast<float>(input.lower_bound.value_or(0))},
      .b = b.const_data_ptr(),
      .slots = slots.const_data_ptr<int32_t>(),
      .state = input.state.mutable_data_ptr<float>(),
      .o = o.mutable_data_ptr(),
      .heads = {.all = sizes.H,
                .of_q = q.size(1) / sizes.dk,
                .of_k = k.size(1) / sizes.dk,
                .of_v = v.size(1) / sizes.dv},
      .rows = sizes.N,
      .key_size = sizes.dk,
      .value_size = sizes.dv,
      .angle_row = cos.defined() ? sizes.dk / 2 : 0,
      .type = kernel_type(q),
      .weight_type = type_or_float(q_weight),
      .most_beta = static_cast<float>(input.most_beta),
      .scale = static_cast<float>(input.scale),
      .eps = static_cast<float>(input.eps)};
  const c10::DeviceGuard on_device(q.device());
  throw_unless_ok("delta_step", kernels::device_kernels().delta_step(params, current_stream(q)));
  return o;
}

/// The same by tensor code, without waiting for a GPU.
Tensor step_composed(const DeltaStepInput& input, const Sizes& sizes) {
  const int64_t H = sizes.H;
  // Each row is a sequence of one token.
  const auto heads = [&](const Tensor& x, int64_t size) {
    return x.unflatten(1, {x.size(1) / size, size}).unsqueeze(1);
  };
  const auto repeated = [&](const Tensor& x) {
    return x.size(2) == H ? x : x.repeat_interleave(H / x.size(2), 2);
  };
  const auto unit = [&](const Tensor& x, const Tensor& weight) {
    Tensor y = heads(x, sizes.dk);
    const RopeAngles& angles = input.angles;
    if (!angles.cos.defined()) {
      if (weight.defined()) y = rms_norm(y, weight, input.eps);
      return repeated(l2_norm(y));
    }
    const RopeAngles rows = {angles.cos.unsqueeze(1), angles.sin.unsqueeze(1)};
    y = weight.defined() ? norm_rope(y, weight, input.eps, rows) : apply_rope(y, rows);
    return repeated(l2_norm(y));
  };
  const Tensor decay =
      decay_gate(input.z, input.A_log, input.dt_bias, input.lower_bound).unsqueeze(1);
  const bool is_per_channel = decay.size(2) != H;
  const Recurrence rows{.q = unit(input.q, input.q_weight),
                        .k = unit(input.k, input.k_weight),
                        .v = repeated(heads(input.v, sizes.dv)),
                        .decay = is_per_channel ? decay.unflatten(2, {H, sizes.dk}) : decay,
                        .beta = beta_gate(input.b, input.most_beta).unsqueeze(1),
                        .is_delta = true,
                        .scale = input.scale,
                        .state = input.state};
  return recurrence_step(rows, input.slots).squeeze(1);
}

}  // namespace

Form form_of(const DeltaStepInput& input) {
  const torch::ScalarType type = input.q.scalar_type();
  const bool suits =
      is_delta_step_head(input.state.size(2), input.state.size(3)) &&
      suits_cuda_kernels({input.q, input.q_weight, input.k_weight, input.A_log, input.dt_bias,
                          input.angles.cos, input.angles.sin, input.state}) &&
      is_type(input.z, type) && is_type(input.b, type) && is_aligned(input.state) &&
      is_type(input.state, torch::kFloat32) && is_type(input.angles.cos, torch::kFloat32) &&
      is_type(input.angles.sin, torch::kFloat32) &&
      type_or_float(input.q_weight) == type_or_float(input.k_weight);
  if (suits) return Form::kDevice;
  // Of these the recurrence at least has a kernel.
  return suits_cpu_kernels({input.q}) && input.state.size(3) % 4 == 0 ? Form::kCpu
                                                                      : Form::kComposed;
}

Tensor delta_step(const DeltaStepInput& input) {
  const torch::NoGradGuard no_grad;
  const Sizes sizes = checked_sizes(input);
  return form_of(input) == Form::kDevice ? step_by_kernel(input, sizes)
                                         : step_composed(input, sizes);
}

}  // namespace hypenet
