// In tensor code products and sums are passes of their own, each rounded once, so that bits do not
// depend on how many tokens go through together.
#include "ops/short_convolution.h"

#include <c10/core/DeviceGuard.h>

#include <algorithm>

#include "kernels/device.h"
#include "ops/gating.h"
#include "ops/slot_states.h"
#include "ops/stream.h"
#include "ops/types.h"

namespace hypenet {
namespace {

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

}  // namespace

Tensor short_convolution(const Tensor& x, const Tensor& weight, const Tensor& tail) {
  HYPENET_CHECK(x.dim() == 3 && weight.dim() == 3 && weight.size(0) == x.size(2) &&
                    weight.size(1) == 1 && weight.size(2) >= 1,
                "short_convolution: expected x [B, T, C] and weight [C, 1, W], found ", x.sizes(),
                " and ", weight.sizes());
  const int64_t B = x.size(0), T = x.size(1), C = x.size(2), W = weight.size(2);
  if (tail.defined()) check_shape("short_convolution: tail", tail, {B, C, W - 1});
  const Tensor inputs =
      with_tail(tail.defined() ? tail : torch::zeros({B, C, W - 1}, x.options()), x);
  const Tensor taps = weight.to(inputs.scalar_type()).squeeze(1).t().contiguous();  // [W, C]
  Tensor y = inputs.narrow(1, 0, T) * taps.select(0, 0);
  for (int64_t i = 1; i < W; ++i) y = y + inputs.narrow(1, i, T) * taps.select(0, i);
  return y.to(x.scalar_type());
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
