// A GPU's kernel does all of it; other devices, types and head sizes are the composition of the ops
// for many tokens.
#include "ops/rwkv7_step.h"

#include <c10/core/DeviceGuard.h>

#include <algorithm>
#include <cmath>

#include "kernels/device.h"
#include "ops/dplr.h"
#include "ops/form.h"
#include "ops/gating.h"
#include "ops/norm.h"
#include "ops/stream.h"
#include "ops/types.h"

namespace hypenet {
namespace {

struct Sizes {
  int64_t N, H, d;
};

void check_keys(const char* place, const Tensor& x, const Sizes& sizes) {
  const auto [N, H, d] = sizes;
  HYPENET_CHECK(x.defined() && x.dim() == 2 && x.size(0) == N && x.size(1) > 0 &&
                    x.size(1) % d == 0 && H % (x.size(1) / d) == 0,
                place, ": expected [", N, ", heads ", d, "] for whole groups of ", H,
                " heads, found ", x.defined() ? c10::str(x.sizes()) : "no tensor");
}

/// The parameters of H d numbers that are there.
std::vector<Tensor> parameters_of(const Rwkv7StepInput& input) {
  std::vector<Tensor> found;
  for (const Tensor& x : {input.decay_start, input.rate_start, input.kappa_scale, input.key_rate,
                          input.bonus, input.norm_weight, input.norm_bias}) {
    if (x.defined()) found.push_back(x);
  }
  return found;
}

void check_pair(const char* place, const Tensor& x, const Tensor& y) {
  HYPENET_CHECK(x.defined() == y.defined(), "rwkv7_step: expected both of ", place,
                " or neither, found one");
}

Sizes checked_sizes(const Rwkv7StepInput& input) {
  const Tensor &r = input.r, &state = input.state;
  HYPENET_CHECK(state.defined() && state.dim() == 4 && state.is_contiguous() &&
                    state.size(2) == state.size(3),
                "rwkv7_step: state: expected contiguous [S, H, d, d], found ",
                state.defined() ? c10::str(state.sizes()) : "no tensor");
  HYPENET_CHECK(r.defined() && r.dim() == 2, "rwkv7_step: r: expected [N, H d], found ",
                r.defined() ? c10::str(r.sizes()) : "no tensor");
  const Sizes sizes{r.size(0), state.size(1), state.size(2)};
  const int64_t wide = sizes.H * sizes.d;
  check_shape("rwkv7_step: r", r, {sizes.N, wide});
  check_keys("rwkv7_step: k", input.k, sizes);
  check_keys("rwkv7_step: v", input.v, sizes);
  check_shape("rwkv7_step: z_decay", input.z_decay, {sizes.N, wide});
  check_shape("rwkv7_step: z_rate", input.z_rate, {sizes.N, wide});
  check_shape("rwkv7_step: gate", input.gate, {sizes.N, wide});
  for (const Tensor& x : {input.k, input.v, input.z_decay, input.z_rate, input.gate}) {
    check_alike("rwkv7_step: rows", x, r);
  }
  HYPENET_CHECK(input.decay_start.defined() && input.rate_start.defined(),
                "rwkv7_step: expected w0 and a0, found none");
  for (const Tensor& x : parameters_of(input)) {
    HYPENET_CHECK(x.numel() == wide, "rwkv7_step: parameters: expected ", wide, " numbers, found ",
                  x.sizes());
  }
  check_pair("k_k and k_a", input.kappa_scale, input.key_rate);
  check_pair("the output norm's weight and bias", input.norm_weight, input.norm_bias);
  check_pair("the norms of r and k", input.r_weight, input.k_weight);
  if (input.r_weight.defined()) {
    check_shape("rwkv7_step: r_weight", input.r_weight, {sizes.d});
    check_shape("rwkv7_step: k_weight", input.k_weight, {sizes.d});
  }
  if (input.angles.cos.defined()) {
    check_shape("rwkv7_step: angles", input.angles.cos, {sizes.N, sizes.d / 2});
    check_shape("rwkv7_step: angles: sin", input.angles.sin, {sizes.N, sizes.d / 2});
  }
  check_shape("rwkv7_step: slots", input.slots, {sizes.N});
  HYPENET_CHECK(input.slots.scalar_type() == torch::kInt32 && input.slots.device() == r.device(),
                "rwkv7_step: slots: expected Int on ", r.device(), ", found ",
                input.slots.scalar_type(), " on ", input.slots.device());
  return sizes;
}

/// The parameters as the kernel reads them, all of one type.
struct Constants {
  torch::ScalarType type;
  Tensor r_weight, k_weight, decay_start, rate_start, kappa_scale, key_rate, bonus, norm_weight,
      norm_bias;

  explicit Constants(const Rwkv7StepInput& input) : type(input.decay_start.scalar_type()) {
    std::vector<Tensor> all = parameters_of(input);
    if (input.r_weight.defined()) all.push_back(input.r_weight), all.push_back(input.k_weight);
    const bool are_alike =
        std::ranges::all_of(all, [this](const Tensor& x) { return x.scalar_type() == type; });
    if (!are_alike) type = torch::kFloat32;
    const auto own = [this](const Tensor& x) { return x.defined() ? dense(x.to(type)) : x; };
    r_weight = own(input.r_weight), k_weight = own(input.k_weight);
    decay_start = own(input.decay_start), rate_start = own(input.rate_start);
    kappa_scale = own(input.kappa_scale), key_rate = own(input.key_rate);
    bonus = own(input.bonus);
    norm_weight = own(input.norm_weight), norm_bias = own(input.norm_bias);
  }

  kernels::cuda::Rwkv7Constants pointers() const {
    return {.r_weight = data_or_null(r_weight),
            .k_weight = data_or_null(k_weight),
            .decay_start = data_or_null(decay_start),
            .rate_start = data_or_null(rate_start),
            .kappa_scale = data_or_null(kappa_scale),
            .key_rate = data_or_null(key_rate),
            .bonus = data_or_null(bonus),
            .norm_weight = data_or_null(norm_weight),
            .norm_bias = data_or_null(norm_bias),
            .type = kernel_type(decay_start)};
  }
};

Tensor step_by_kernel(const Rwkv7StepInput& input, const Sizes& sizes) {
  const Tensor r = dense(input.r), k = dense(input.k), v = dense(input.v);
  const Tensor z_decay = dense(input.z_decay), z_rate = dense(input.z_rate);
  const Tensor gate = dense(input.gate), slots = input.slots.contiguous();
  const Tensor cos = dense(input.angles.cos), sin = dense(input.angles.sin);
  const Constants constants(input);
  const Tensor y = torch::empty_like(r);
  const kernels::cuda::Rwkv7StepParams params{.r = r.const_data_ptr(),
                                              .k = k.const_data_ptr(),
                                              .v = v.const_data_ptr(),
                                              .z_decay = z_decay.const_data_ptr(),
                                              .z_rate = z_rate.const_data_ptr(),
                                              .gate = gate.const_data_ptr(),
                                              .cos = floats_or_null(cos),
                                              .sin = floats_or_null(sin),
                                              .constants = constants.pointers(),
                                              .slots = slots.const_data_ptr<int32_t>(),
                                              .state = input.state.mutable_data_ptr<float>(),
                                              .y = y.mutable_data_ptr(),
                                              .rows = sizes.N,
                                              .heads = sizes.H,
                                              .key_heads = k.size(1) / sizes.d,
                                              .value_heads = v.size(1) / sizes.d,
                                              .size = sizes.d,
                                              .type = kernel_type(r),
                                              .is_sigmoid_gate = input.is_sigmoid_gate,
                                              .eps = static_cast<float>(input.eps),
                                              .unit_eps = static_cast<float>(input.unit_eps),
                                              .norm_eps = static_cast<float>(input.norm_eps)};
  const c10::DeviceGuard on_device(r.device());
  throw_unless_ok("rwkv7_step", kernels::device_kernels().rwkv7_step(params, current_stream(r)));
  return y;
}

/// The same by tensor code, without waiting for a GPU. Each row is a sequence of one token.
struct ComposedStep {
  const Rwkv7StepInput& in;
  Sizes sizes;
  torch::ScalarType wide;

  Tensor heads(const Tensor& x) const {  // [N, 1, H, d]
    const Tensor y = x.unflatten(1, {x.size(1) / sizes.d, sizes.d}).unsqueeze(1);
    return y.size(2) == sizes.H ? y : y.repeat_interleave(sizes.H / y.size(2), 2);
  }
  Tensor own(const Tensor& x) const { return x.to(wide).view({sizes.H, sizes.d}); }
  Tensor turned(const Tensor& x, const Tensor& weight) const {
    const Tensor y = heads(x);
    if (!in.angles.cos.defined()) return weight.defined() ? rms_norm(y, weight, in.eps) : y;
    const RopeAngles rows = {in.angles.cos.unsqueeze(1), in.angles.sin.unsqueeze(1)};
    return weight.defined() ? norm_rope(y, weight, in.eps, rows) : apply_rope(y, rows);
  }
  Tensor sigmoid(double most, const Tensor& z, const Tensor& start) const {
    const Tensor x = heads(z).to(wide) + own(start);
    return sigmoid_gate(torch::full_like(x, most), x);
  }

  DplrRecurrence recurrence() const {
    const Tensor decay = sigmoid(std::exp(-0.5), in.z_decay, in.decay_start);
    const Tensor rate = sigmoid(1, in.z_rate, in.rate_start);
    const bool is_balanced = !in.kappa_scale.defined();
    Tensor k = turned(in.k, in.k_weight).to(wide);
    const Tensor kappa = l2_norm(is_balanced ? k : k * own(in.kappa_scale), in.unit_eps);
    k = k * (is_balanced ? 1 - (-decay).exp() + rate : 1 + (rate - 1) * own(in.key_rate));
    return {.r = turned(in.r, in.r_weight),
            .k = k,
            .a = -kappa,
            .b = kappa * rate,
            .v = heads(in.v),
            .decay = decay,
            .state = in.state};
  }

  Tensor run() const {
    const DplrRecurrence tokens = recurrence();
    const Tensor o = dplr_step(tokens, in.slots).to(wide);
    const auto d = static_cast<double>(sizes.d);
    Tensor y = in.norm_weight.defined()
                   ? torch::layer_norm(o, {sizes.d}, {}, {}, in.norm_eps) * own(in.norm_weight) +
                         own(in.norm_bias)
                   : o * (1 / std::sqrt(d));
    if (in.bonus.defined()) {
      y = y + (tokens.r.to(wide) * tokens.k * own(in.bonus)).sum(-1, true) * tokens.v.to(wide);
    }
    y = y.view({sizes.N, -1}).to(in.r.scalar_type());
    y = in.is_sigmoid_gate ? sigmoid_gate(y, in.gate) : y * in.gate;
    return y.masked_fill((in.slots < 0).view({-1, 1}), 0);
  }
};

}  // namespace

Form form_of(const Rwkv7StepInput& input) {
  const bool suits =
      (input.state.size(2) == 64 || input.state.size(2) == 128) &&
      suits_cuda_kernels({input.r, input.r_weight, input.k_weight, input.decay_start,
                          input.rate_start, input.kappa_scale, input.key_rate, input.bonus,
                          input.norm_weight, input.norm_bias, input.angles.cos, input.angles.sin,
                          input.state}) &&
      input.state.scalar_type() == torch::kFloat32 && is_aligned(input.state) &&
      (!input.angles.cos.defined() || (input.angles.cos.scalar_type() == torch::kFloat32 &&
                                       input.angles.sin.scalar_type() == torch::kFloat32));
  return suits ? Form::kDevice : Form::kComposed;
}

Tensor rwkv7_step(const Rwkv7StepInput& input) {
  const torch::NoGradGuard no_grad;
  const Sizes sizes = checked_sizes(input);
  if (form_of(input) == Form::kDevice) return step_by_kernel(input, sizes);
  return ComposedStep{input, sizes, sum_type(input.r)}.run();
}

}  // namespace hypenet
