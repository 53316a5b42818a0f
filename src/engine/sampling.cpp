// Settings become rows of the tensors that the sampling op reads.
#include "engine/sampling.h"

#include <cmath>

#include "base/error.h"

namespace hypenet {
namespace {

constexpr double kLeast = 1e-6, kLargest = 1e6;  // of temperatures, penalties and biases

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

}  // namespace

void check_sampling(const SamplingOptions& options, int64_t vocab_size) {
  const auto is_in = [](double x, double low, double high) { return x >= low && x <= high; };
  // They become float32.
  const auto is_positive = [&](double x) { return is_in(x, kLeast, kLargest); };
  HYPENET_CHECK(options.temperature == 0 || is_positive(options.temperature),
                "temperature: expected 0 or ", kLeast, " to ", kLargest, ", found ",
                options.temperature);
  HYPENET_CHECK(options.top_k >= 0, "top_k: expected 0 or more, found ", options.top_k);
  HYPENET_CHECK(options.top_p > 0 && options.top_p <= 1,
                "top_p: expected more than 0, at most 1, found ", options.top_p);
  HYPENET_CHECK(is_in(options.min_p, 0, 1), "min_p: expected 0 to 1, found ", options.min_p);
  HYPENET_CHECK(is_positive(options.repetition_penalty), "repetition_penalty: expected ", kLeast,
                " to ", kLargest, ", found ", options.repetition_penalty);
  const auto biases = static_cast<int64_t>(options.logit_bias.size());
  HYPENET_CHECK(biases <= SamplingOptions::kMostBiases, "logit_bias: expected at most ",
                SamplingOptions::kMostBiases, " tokens, found ", biases);
  for (const auto& [id, bias] : options.logit_bias) {
    HYPENET_CHECK(id >= 0 && id < vocab_size, "logit_bias: expected ids from 0 to ", vocab_size - 1,
                  ", found ", id);
    HYPENET_CHECK(bias == -INFINITY || is_in(bias, -kLargest, kLargest), "logit_bias: ", id,
                  ": expected -infinity, or ", -kLargest, " to ", kLargest, ", found ", bias);
  }
}

void set_sampling(SamplingState& state, int64_t slot, const SamplingOptions& options,
                  std::span<const int32_t> prompt) {
  state.temperature[slot].fill_(options.temperature);
  state.top_k[slot].fill_(std::min<int64_t>(options.top_k, INT32_MAX));
  state.top_p[slot].fill_(options.top_p);
  state.min_p[slot].fill_(options.min_p);
  state.repetition_penalty[slot].fill_(options.repetition_penalty);
  state.seed[slot].fill_(static_cast<int64_t>(options.seed));
  state.draws[slot].zero_();
  if (options.repetition_penalty == 1) {
    state.seen[slot].zero_();
  } else {
    fill_row(state.seen, slot, seen_words(prompt, state.seen.size(1)));
  }
  state.bias_ids[slot].fill_(-1);
  if (options.logit_bias.empty()) return;
  std::vector<int32_t> ids;
  std::vector<float> biases;
  for (const auto& [id, bias] : options.logit_bias) ids.push_back(id), biases.push_back(bias);
  fill_row(state.bias_ids, slot, ids);
  fill_row(state.bias, slot, biases);
}

}  // namespace hypenet
