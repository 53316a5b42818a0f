// Settings become rows of the tensors that the sampling op reads.
#include "engine/sampling.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "engine/generation_config.h"

namespace hypenet {
namespace {

constexpr double kLargest = 1e6;  // of biases

/// A row made on the host, on its way to the device.
template <class Element>
void fill_row(const Tensor& rows, int64_t slot, const std::vector<Element>& values) {
  const auto type = rows.scalar_type();
  const Tensor host = torch::empty({static_cast<int64_t>(values.size())},
                                   torch::TensorOptions(type).pinned_memory(rows.is_cuda()));
  std::copy(values.begin(), values.end(), host.mutable_data_ptr<Element>());
  rows[slot].narrow(0, 0, host.size(0)).copy_(host, /*non_blocking=*/true);
}

/// Bit v % 32 of word v / 32 for every token v.
std::vector<int32_t> seen_words(std::span<const int32_t> tokens, int64_t words) {
  std::vector<int32_t> seen(static_cast<size_t>(words), 0);
  for (const int32_t token : tokens) {
    seen[static_cast<size_t>(token / 32)] |= static_cast<int32_t>(1U << (token % 32));
  }
  return seen;
}

void check_biases(const SamplingOptions& options, int64_t vocab_size) {
  const auto biases = static_cast<int64_t>(options.logit_bias.size());
  HYPENET_CHECK(biases <= SamplingOptions::kMostBiases, "logit_bias: expected at most ",
                SamplingOptions::kMostBiases, " tokens, found ", biases);
  for (const auto& [id, bias] : options.logit_bias) {
    HYPENET_CHECK(id >= 0 && id < vocab_size, "logit_bias: expected ids from 0 to ", vocab_size - 1,
                  ", found ", id);
    HYPENET_CHECK(bias == -INFINITY || std::abs(bias) <= kLargest, "logit_bias: ", id,
                  ": expected -infinity, or ", -kLargest, " to ", kLargest, ", found ", bias);
  }
}

void set_biases(SamplingState& state, int64_t slot, const SamplingOptions& options) {
  state.bias_ids[slot].fill_(-1);
  if (options.logit_bias.empty()) return;
  std::vector<int32_t> ids;
  std::vector<float> biases;
  for (const auto& [id, bias] : options.logit_bias) ids.push_back(id), biases.push_back(bias);
  fill_row(state.bias_ids, slot, ids);
  fill_row(state.bias, slot, biases);
}

}  // namespace

void check_sampling(const GenerateOptions& options, int64_t vocab_size) {
  check_settings(options.sampling, [](const char* key) { return std::string(key); });
  check_biases(options.sampling, vocab_size);
  HYPENET_CHECK(options.top_logprobs >= -1 && options.top_logprobs <= GenerateOptions::kMostTop,
                "top_logprobs: expected -1 to ", GenerateOptions::kMostTop, ", found ",
                options.top_logprobs);
  HYPENET_CHECK(options.min_tokens >= 0 && options.min_tokens <= options.max_tokens,
                "min_tokens: expected 0 to max_tokens, which is ", options.max_tokens, ", found ",
                options.min_tokens);
  HYPENET_CHECK(
      options.min_tokens == 0 || std::ssize(options.stop_ids) <= GenerateOptions::kMostBans,
      "stop_ids: with min_tokens: expected at most ", GenerateOptions::kMostBans, ", found ",
      options.stop_ids.size());
}

void set_sampling(SamplingState& state, int64_t slot, const GenerateOptions& options,
                  std::span<const int32_t> prompt) {
  const SamplingOptions& sampling = options.sampling;
  SampleSettings settings{
      .seed = static_cast<int64_t>(sampling.seed),
      .min_tokens = static_cast<int32_t>(options.min_tokens),
      .top_logprobs = static_cast<int32_t>(std::max(options.top_logprobs, int64_t{0}))};
  SamplingOptions::visit([&](const char*, auto member, auto setting, const auto&...) {
    settings.*setting = static_cast<std::decay_t<decltype(settings.*setting)>>(sampling.*member);
  });
  set_settings(state, slot, settings);
  state.draws[slot].zero_();
  if (sampling.repetition_penalty == 1) {
    state.seen[slot].zero_();
  } else {
    fill_row(state.seen, slot, seen_words(prompt, state.seen.size(1)));
  }
  if (sampling.presence_penalty != 0 || sampling.frequency_penalty != 0) count_tokens(state, slot);
  set_biases(state, slot, sampling);
  if (options.min_tokens == 0) return;  // bans that do not hold may be anyone's
  state.ban_ids[slot].fill_(-1);
  fill_row(state.ban_ids, slot, options.stop_ids);
}

}  // namespace hypenet
