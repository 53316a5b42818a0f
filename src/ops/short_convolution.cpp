// In tensor code products and sums are passes of their own, each rounded once, so that bits do not
// depend on how many tokens go through together.
#include "ops/short_convolution.h"

#include <c10/core/DeviceGuard.h>
#include <torch/autograd.h>

#include <algorithm>

#include "kernels/device.h"
#include "ops/gating.h"
#include "ops/gradient.h"
#include "ops/slot_states.h"
#include "ops/stream.h"
#include "ops/types.h"

namespace hypenet {
namespace {

using kernels::cuda::ShortConvolutionBackwardParams;
using kernels::cuda::ShortConvolutionParams;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// tail and x one behind the other, [B, W - 1 + T, C], in the type of sums.
Tensor with_tail(const Tensor& tail, const Tensor& x) {
  const torch::ScalarType type = sum_type(x);
  return torch::cat({tail.to(type).transpose(1, 2), x.to(type)}, 1);
}

/// Rows of one slot that follow each other are a sequence.
Tensor step_by_runs(const Tensor& x, const Tensor& weight, const Tensor& tails,
                    const Tensor& slots) {
  const Tensor y = torch::zeros_like(x);
  const auto* const slot = slots.const_data_ptr<int32_t>();
  const int64_t N = x.size(0);
  for (int64_t begin = 0, end = 0; begin < N; begin = end) {
    while (end < N && slot[end] == slot[begin]) ++end;
    if (slot[begin] < 0) continue;
    const Tensor run = x.narrow(0, begin, end - begin).unsqueeze(0);
    const Tensor tail = tails.narrow(0, slot[begin], 1);
    y.narrow(0, begin, end - begin).copy_(short_convolution(run, weight, tail)[0]);
    advance_tail(tail, run);
  }
  return y;
}

/// Each slot once.
Tensor step_at_once(const Tensor& x, const Tensor& weight, const Tensor& tails,
                    const Tensor& slots) {
  const Tensor rows = x.unsqueeze(1), tail = take_states(tails, slots);
  const Tensor y = short_convolution(rows, weight, tail).squeeze(1);
  advance_tail(tail, rows);
  put_states(tails, slots, tail);
  return y.masked_fill((slots < 0).unsqueeze(1), 0);
}

void check_step(const Tensor& x, const Tensor& weight, const Tensor& tails, const Tensor& slots) {
  HYPENET_CHECK(x.dim() == 2 && tails.dim() == 3,
                "short_convolution_step: expected x [N, C] and tails [S, C, W - 1], found ",
                x.sizes(), " and ", tails.sizes());
  check_shape("short_convolution_step: weight", weight, {x.size(1), 1, tails.size(2) + 1});
  check_shape("short_convolution_step: tails", tails, {tails.size(0), x.size(1), tails.size(2)});
  check_shape("short_convolution_step: slots", slots, {x.size(0)});
  HYPENET_CHECK(slots.scalar_type() == torch::kInt32 && slots.is_contiguous(),
                "short_convolution_step: slots: expected contiguous Int, found ",
                slots.scalar_type());
}

/// Whether one launch takes all of them.
bool suits_device(const std::vector<StepConvolution>& convolutions, const Tensor& slots) {
  if (convolutions.empty() || convolutions.size() > kernels::cuda::kMostConvolutions) return false;
  const StepConvolution& first = convolutions.front();
  return std::ranges::all_of(convolutions, [&](const StepConvolution& one) {
    return suits_cuda_kernels({one.x, one.weight, one.tails, one.bias}) &&
           one.x.device() == slots.device() &&
           (!one.bias.defined() || one.bias.scalar_type() == first.weight.scalar_type()) &&
           one.x.scalar_type() == first.x.scalar_type() &&
           one.weight.scalar_type() == first.weight.scalar_type() &&
           one.tails.scalar_type() == torch::kFloat32 && one.tails.is_contiguous() &&
           one.tails.size(2) == first.tails.size(2) && one.tails.size(2) < kMostStepTaps;
  });
}

std::vector<Tensor> steps_by_kernel(const std::vector<StepConvolution>& convolutions,
                                    const Tensor& slots, bool has_silu) {
  static_assert(kMostStepTaps == kernels::cuda::kMostTaps);
  const StepConvolution& first = convolutions.front();
  kernels::cuda::ShortConvolutionStepParams params{
      .convolutions = {},
      .count = static_cast<int64_t>(convolutions.size()),
      .slots = slots.const_data_ptr<int32_t>(),
      .rows = slots.size(0),
      .taps = first.tails.size(2) + 1,
      .has_silu = has_silu,
      .type = kernel_type(first.x),
      .weight_type = kernel_type(first.weight)};
  std::vector<Tensor> outputs, kept;  // kept: what the pointers point into
  for (size_t i = 0; i < convolutions.size(); ++i) {
    const Tensor& given = convolutions[i].x;
    const Tensor x = given.stride(1) == 1 ? given : given.contiguous();
    const Tensor weight = convolutions[i].weight.contiguous();
    const Tensor bias = dense(convolutions[i].bias);
    kept.insert(kept.end(), {x, weight, bias});
    outputs.push_back(torch::empty(x.sizes(), x.options()));
    params.convolutions[i] = {.x = x.const_data_ptr(),
                              .row = x.stride(0),
                              .weight = weight.const_data_ptr(),
                              .bias = data_or_null(bias),
                              .tails = convolutions[i].tails.mutable_data_ptr<float>(),
                              .y = outputs.back().mutable_data_ptr(),
                              .channels = x.size(1)};
  }
  const c10::DeviceGuard on_device(slots.device());
  throw_unless_ok("short_convolution_step",
                  kernels::device_kernels().short_convolution_step(params, current_stream(slots)));
  return outputs;
}

/// x [B, T, C] as the kernels read it: a view where rows lie at equal steps from aligned places.
Tensor in_rows(const Tensor& x) {
  const int64_t quad = 4 * x.element_size(), row = x.stride(1) * x.element_size();
  const bool is_view = x.stride(2) == 1 && x.stride(0) == x.size(1) * x.stride(1) &&
                       row % quad == 0 &&
                       reinterpret_cast<uintptr_t>(x.const_data_ptr()) % quad == 0;
  return is_view ? x : dense(x);
}

bool suits_sequence_kernel(const Tensor& x, const Tensor& weight, const Tensor& tail,
                           const Tensor& bias) {
  const int64_t taps = weight.size(2);
  return suits_cuda_kernels({x, weight, tail, bias}) && taps >= 2 &&
         taps <= kernels::cuda::kMostSequenceTaps && x.size(2) % 4 == 0 && x.numel() > 0 &&
         (!tail.defined() || !needs_gradient({x, weight, tail, bias}));
}

/// weight [C, W] and bias [C] are dense and float32; bias and tail may be without elements. y is
/// left null.
ShortConvolutionParams sequence_params(const Tensor& x, const Tensor& weight, const Tensor& bias,
                                       const Tensor& tail, bool has_silu) {
  return {.x = x.const_data_ptr(),
          .x_row = x.stride(1),
          .weight = weight.const_data_ptr<float>(),
          .bias = floats_or_null(bias),
          .tail = floats_or_null(tail),
          .y = nullptr,
          .batch = x.size(0),
          .tokens = x.size(1),
          .channels = x.size(2),
          .taps = weight.size(1),
          .has_silu = has_silu,
          .type = kernel_type(x)};
}

Tensor by_sequence_kernel(ShortConvolutionParams params, const Tensor& x) {
  const c10::DeviceGuard on_device(x.device());
  const Tensor y = torch::empty(x.sizes(), x.options());
  params.y = y.mutable_data_ptr();
  throw_unless_ok("short_convolution",
                  kernels::device_kernels().short_convolution(params, current_stream(x)));
  return y;
}

struct ShortConvolutionFunction : torch::autograd::Function<ShortConvolutionFunction> {
  static Tensor forward(AutogradContext* context, const Tensor& given, const Tensor& given_weight,
                        const Tensor& given_bias, bool has_silu) {
    const Tensor x = in_rows(given), weight = dense(given_weight), bias = dense(given_bias);
    context->save_for_backward({x, weight, bias});
    context->saved_data["has_silu"] = has_silu;
    return by_sequence_kernel(sequence_params(x, weight, bias, {}, has_silu), x);
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const Tensor &x = saved[0], &weight = saved[1], &bias = saved[2];
    const c10::DeviceGuard on_device(x.device());
    const Tensor dy = dense(gradients[0]), dx = torch::empty(x.sizes(), x.options());
    const Tensor dweight = torch::empty_like(weight), dbias = torch::empty_like(bias);
    ShortConvolutionBackwardParams params{
        .forward = sequence_params(x, weight, bias, {}, context->saved_data["has_silu"].toBool()),
        .dy = dy.const_data_ptr(),
        .dx = dx.mutable_data_ptr(),
        .weight_parts = nullptr,
        .bias_parts = nullptr,
        .dweight = dweight.mutable_data_ptr<float>(),
        .dbias = nullptr,
        .parts = 0};
    params.parts = kernels::device_kernels().short_convolution_parts(params.forward);
    const Tensor parts = torch::empty({params.parts, weight.numel()}, weight.options());
    const Tensor bias_parts = torch::empty({params.parts, bias.numel()}, weight.options());
    params.weight_parts = parts.mutable_data_ptr<float>();
    if (bias.numel() > 0) {
      params.bias_parts = bias_parts.mutable_data_ptr<float>();
      params.dbias = dbias.mutable_data_ptr<float>();
    }
    throw_unless_ok(
        "short_convolution backward",
        kernels::device_kernels().short_convolution_backward(params, current_stream(x)));
    return {dx, dweight, dbias, Tensor()};
  }
};

Tensor sequence_by_kernel(const Tensor& x, const Tensor& weight, const Tensor& tail,
                          const AfterConvolution& after) {
  const Tensor taps = weight.to(torch::kFloat32).squeeze(1);
  const Tensor bias =
      after.bias.defined() ? after.bias.to(torch::kFloat32) : torch::empty({0}, taps.options());
  if (needs_gradient({x, weight, after.bias})) {
    return ShortConvolutionFunction::apply(x, taps, bias, after.has_silu);
  }
  const Tensor rows = in_rows(x), own_taps = dense(taps), own_bias = dense(bias);
  const Tensor before = tail.defined() ? tail.to(torch::kFloat32).contiguous() : tail;
  return by_sequence_kernel(sequence_params(rows, own_taps, own_bias, before, after.has_silu),
                            rows);
}

}  // namespace

Tensor short_convolution(const Tensor& x, const Tensor& weight, const Tensor& tail,
                         const AfterConvolution& after) {
  HYPENET_CHECK(x.dim() == 3 && weight.dim() == 3 && weight.size(0) == x.size(2) &&
                    weight.size(1) == 1 && weight.size(2) >= 1,
                "short_convolution: expected x [B, T, C] and weight [C, 1, W], found ", x.sizes(),
                " and ", weight.sizes());
  const int64_t B = x.size(0), T = x.size(1), C = x.size(2), W = weight.size(2);
  if (tail.defined()) check_shape("short_convolution: tail", tail, {B, C, W - 1});
  if (after.bias.defined()) check_shape("short_convolution: bias", after.bias, {C});
  if (suits_sequence_kernel(x, weight, tail, after.bias)) {
    return sequence_by_kernel(x, weight, tail, after);
  }
  const Tensor inputs =
      with_tail(tail.defined() ? tail : torch::zeros({B, C, W - 1}, x.options()), x);
  const Tensor taps = weight.to(inputs.scalar_type()).squeeze(1).t().contiguous();  // [W, C]
  Tensor y = inputs.narrow(1, 0, T) * taps.select(0, 0);
  for (int64_t i = 1; i < W; ++i) y = y + inputs.narrow(1, i, T) * taps.select(0, i);
  y = y.to(x.scalar_type());
  if (after.bias.defined()) y = y + after.bias.to(y.scalar_type());
  return after.has_silu ? sigmoid_gate(y, y) : y;
}

void advance_tail(const Tensor& tail, const Tensor& x) {
  const torch::NoGradGuard no_grad;
  tail.copy_(with_tail(tail, x).narrow(1, x.size(1), tail.size(2)).transpose(1, 2));
}

Tensor short_convolution_step(const Tensor& x, const Tensor& weight, const Tensor& tails,
                              const Tensor& slots) {
  const torch::NoGradGuard no_grad;
  check_step(x, weight, tails, slots);
  return slots.is_cpu() ? step_by_runs(x, weight, tails, slots)
                        : step_at_once(x, weight, tails, slots);
}

std::vector<Tensor> short_convolution_steps(const std::vector<StepConvolution>& convolutions,
                                            const Tensor& slots, bool has_silu) {
  const torch::NoGradGuard no_grad;
  for (const StepConvolution& one : convolutions) {
    check_step(one.x, one.weight, one.tails, slots);
    if (one.bias.defined()) check_shape("short_convolution_step: bias", one.bias, {one.x.size(1)});
  }
  if (suits_device(convolutions, slots)) return steps_by_kernel(convolutions, slots, has_silu);
  std::vector<Tensor> outputs;
  for (const auto& [x, weight, tails, bias] : convolutions) {
    Tensor y = short_convolution_step(x, weight, tails, slots);
    if (bias.defined()) y = y + (slots >= 0).unsqueeze(1) * bias.to(y.scalar_type());
    outputs.push_back(has_silu ? sigmoid_gate(y, y) : y);
  }
  return outputs;
}

}  // namespace hypenet
