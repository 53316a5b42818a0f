// Both devices have a kernel of their own; what they share is kernels/sampling.h.
#include "ops/sampling.h"

#include <ATen/Parallel.h>
#include <c10/core/DeviceGuard.h>

#include <cstring>

#include "kernels/device.h"
#include "ops/stream.h"
#include "ops/types.h"

namespace hypenet {
namespace {

constexpr auto kSettingsBytes = static_cast<int64_t>(sizeof(SampleSettings));

/// The settings as a row of memory, on the CPU.
Tensor bytes_of(const SampleSettings& settings) {
  const Tensor bytes = torch::empty({kSettingsBytes}, torch::kUInt8);
  std::memcpy(bytes.mutable_data_ptr(), &settings, sizeof(settings));
  return bytes;
}

/// Throws Error unless x is dense and has this type and shape on the device of `logits`.
void check_part(const std::string& name, const Tensor& x, torch::ScalarType type,
                torch::IntArrayRef shape, const Tensor& logits) {
  const std::string place = "sample_tokens: " + name;
  check_shape(place.c_str(), x, shape);
  HYPENET_CHECK(x.scalar_type() == type, place, ": expected type ", type, ", found ",
                x.scalar_type());
  HYPENET_CHECK(x.device() == logits.device(), place, ": expected device ", logits.device(),
                ", found ", x.device());
  HYPENET_CHECK(x.is_contiguous(), place, ": expected it contiguous");
}

void check_masks(const Tensor& logits, const RowMasks& masks) {
  if (!masks.rows.defined()) return;
  HYPENET_CHECK(masks.words.defined() && masks.words.dim() == 2,
                "sample_tokens: masks: expected words [M, ceil(V / 32)]");
  const int64_t words = (logits.size(1) + 31) / 32;
  check_part("masks.words", masks.words, torch::kInt32, {masks.words.size(0), words}, logits);
  check_part("masks.rows", masks.rows, torch::kInt32, {logits.size(0)}, logits);
}

void check_input(const Tensor& logits, const Tensor& slots, const SamplingState& state) {
  HYPENET_CHECK(logits.dim() == 2 && logits.size(1) > 0,
                "sample_tokens: logits: expected shape [N, V], found ", logits.sizes());
  HYPENET_CHECK(logits.scalar_type() == torch::kFloat32,
                "sample_tokens: logits: expected type Float, found ", logits.scalar_type());
  HYPENET_CHECK(logits.is_cpu() || logits.is_cuda(),
                "sample_tokens: logits: expected a CPU or CUDA device, found ", logits.device());
  HYPENET_CHECK(state.draws.dim() == 1 && state.bias_ids.dim() == 2 && state.ban_ids.dim() == 2,
                "sample_tokens: expected draws [S], bias_ids [S, n] and ban_ids [S, m], found ",
                state.draws.sizes(), ", ", state.bias_ids.sizes(), " and ", state.ban_ids.sizes());
  const int64_t S = state.draws.size(0), n = state.bias_ids.size(1);
  check_part("slots", slots, torch::kInt32, {logits.size(0)}, logits);
  check_part("settings", state.settings, torch::kUInt8, {S, kSettingsBytes}, logits);
  check_part("draws", state.draws, torch::kInt32, {S}, logits);
  check_part("seen", state.seen, torch::kInt32, {S, (logits.size(1) + 31) / 32}, logits);
  check_part("bias_ids", state.bias_ids, torch::kInt32, {S, n}, logits);
  check_part("bias", state.bias, torch::kFloat32, {S, n}, logits);
  check_part("ban_ids", state.ban_ids, torch::kInt32, {S, state.ban_ids.size(1)}, logits);
  if (!state.counts.defined()) return;
  const int64_t counts = kernels::counts_stride(logits.size(1));
  check_part("counts", state.counts, torch::kInt16, {S, counts}, logits);
}

kernels::SampleParams params_of(const Tensor& logits, const Tensor& slots, SamplingState& state,
                                const RowMasks& masks, const SampledTokens& tokens) {
  const bool has_masks = masks.rows.defined();
  return {.logits = logits.const_data_ptr<float>(),
          .slots = slots.const_data_ptr<int32_t>(),
          .settings = reinterpret_cast<const SampleSettings*>(state.settings.const_data_ptr()),
          .draws = state.draws.mutable_data_ptr<int32_t>(),
          .seen = state.seen.mutable_data_ptr<int32_t>(),
          .counts = state.counts.defined() ? state.counts.mutable_data_ptr<int16_t>() : nullptr,
          .bias_ids = state.bias_ids.const_data_ptr<int32_t>(),
          .bias = state.bias.const_data_ptr<float>(),
          .ban_ids = state.ban_ids.const_data_ptr<int32_t>(),
          .masks = has_masks ? masks.words.const_data_ptr<int32_t>() : nullptr,
          .mask_of_row = has_masks ? masks.rows.const_data_ptr<int32_t>() : nullptr,
          .ids = tokens.ids.mutable_data_ptr<int32_t>(),
          .logprobs = tokens.logprobs.mutable_data_ptr<float>(),
          .log_sums = tokens.log_sums.mutable_data_ptr<float>(),
          .rows = logits.size(0),
          .vocabulary = logits.size(1),
          .biases = state.bias_ids.size(1),
          .bans = state.ban_ids.size(1)};
}

void sample_cuda(const kernels::SampleParams& params, const Tensor& logits) {
  const c10::DeviceGuard on_device(logits.device());
  const int64_t words =
      kernels::device_kernels().sample_scratch_words(params.rows, params.vocabulary);
  const Tensor scratch = torch::empty({words}, logits.options().dtype(torch::kInt32));
  auto* const memory = reinterpret_cast<uint32_t*>(scratch.mutable_data_ptr<int32_t>());
  throw_unless_ok("sample_tokens",
                  kernels::device_kernels().sample_tokens(params, memory, current_stream(logits)));
}

}  // namespace

SamplingState make_sampling_state(int64_t slots, int64_t V, int64_t biases, torch::Device device,
                                  int64_t bans) {
  const auto options = torch::TensorOptions().device(device);
  const auto reals = options.dtype(torch::kFloat32), integers = options.dtype(torch::kInt32);
  const SampleSettings greedy;
  return {.settings = bytes_of(greedy).to(device).repeat({slots, 1}),
          .draws = torch::zeros({slots}, integers),
          .seen = torch::zeros({slots, (V + 31) / 32}, integers),
          .bias_ids = torch::full({slots, biases}, -1, integers),
          .bias = torch::zeros({slots, biases}, reals),
          .ban_ids = torch::full({slots, bans}, -1, integers),
          .counts = {}};
}

void count_tokens(SamplingState& state, int64_t slot) {
  if (state.counts.defined()) {
    state.counts[slot].zero_();
    return;
  }
  state.counts = torch::zeros({state.seen.size(0), 32 * state.seen.size(1)},
                              state.seen.options().dtype(torch::kInt16));
}

void set_settings(SamplingState& state, int64_t slot, const SampleSettings& settings) {
  const Tensor host = bytes_of(settings);
  const bool is_cuda = state.settings.is_cuda();
  state.settings[slot].copy_(is_cuda ? host.pin_memory() : host, /*non_blocking=*/true);
}

SampledTokens sample_tokens(const Tensor& logits, const Tensor& slots, SamplingState& state,
                            const RowMasks& masks) {
  const torch::NoGradGuard no_grad;
  check_input(logits, slots, state);
  check_masks(logits, masks);
  const Tensor rows = dense(logits);
  const auto options = rows.options();
  const SampledTokens tokens{torch::empty({rows.size(0)}, options.dtype(torch::kInt32)),
                             torch::empty({rows.size(0)}, options),
                             torch::empty({rows.size(0)}, options)};
  const kernels::SampleParams params = params_of(rows, slots, state, masks, tokens);
  if (rows.is_cuda()) {
    sample_cuda(params, rows);
  } else {
    at::parallel_for(0, params.rows, 1, [&](int64_t begin, int64_t end) {
      kernels::sample_tokens(params, begin, end);
    });
  }
  return tokens;
}

}  // namespace hypenet
