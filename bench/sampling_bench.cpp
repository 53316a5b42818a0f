// A row of logits of Qwen3's vocabulary on a CPU: what each part of choosing its token costs.
#include <benchmark/benchmark.h>
#include <torch/types.h>
#include <torch/utils.h>

#include "ops/top_logprobs.h"

namespace hypenet {
namespace {

constexpr int64_t kVocabulary = 151936;

/// What a row is chosen by, and what else is asked of it.
struct Case {
  const char* name;
  SampleSettings settings;
  double mask = 0;  // a mask that allows this share of the tokens; 0: none
};

void sample(benchmark::State& state, const Case& chosen) {
  torch::set_num_threads(1);
  torch::manual_seed(1);
  const Tensor logits = torch::randn({1, kVocabulary}) * 2;
  const Tensor slots = torch::zeros({1}, torch::kInt32);
  SamplingState slot = make_sampling_state(1, kVocabulary, 512, torch::kCPU, 64);
  set_settings(slot, 0, chosen.settings);
  slot.ban_ids.fill_(5);
  count_tokens(slot, 0);
  RowMasks masks;
  if (chosen.mask > 0) {
    const Tensor bits = (torch::rand({kVocabulary / 32, 32}) < chosen.mask).to(torch::kInt64);
    const Tensor ones = torch::ones({32}, torch::kInt64), places = torch::arange(32, torch::kInt64);
    const Tensor words = bits.mul(ones.bitwise_left_shift(places)).sum(1);
    masks = {words.to(torch::kInt32).view({1, -1}), slots};
  }
  for (auto _ : state) {
    const SampledTokens tokens = sample_tokens(logits, slots, slot, masks);
    benchmark::DoNotOptimize(tokens.ids);
    if (chosen.settings.top_logprobs == 0) continue;
    benchmark::DoNotOptimize(top_logprobs(logits, slots, slot, tokens));
  }
}

constexpr int32_t kAlways = 1 << 30;
constexpr Case kCases[] = {
    {"greedy", {}},
    {"greedy, repetition", {.repetition_penalty = 1.1F}},
    {"greedy, presence", {.presence_penalty = 0.5F}},
    {"greedy, presence and frequency", {.presence_penalty = 0.5F, .frequency_penalty = 0.5F}},
    {"greedy, bans", {.min_tokens = kAlways}},
    {"greedy, mask of half", {}, 0.5},
    {"greedy, mask of a thousandth", {}, 0.001},
    {"greedy, top 20", {.top_logprobs = 20}},
    {"drawn", {.temperature = 0.8F, .top_k = 20, .top_p = 0.95F}},
    {"drawn, mask of half", {.temperature = 0.8F, .top_k = 20, .top_p = 0.95F}, 0.5},
    {"drawn, mask of a thousandth", {.temperature = 0.8F, .top_k = 20, .top_p = 0.95F}, 0.001},
    {"drawn, all",
     {.temperature = 0.8F,
      .top_k = 20,
      .top_p = 0.95F,
      .repetition_penalty = 1.1F,
      .presence_penalty = 0.5F,
      .frequency_penalty = 0.5F,
      .min_tokens = kAlways,
      .top_logprobs = 20},
     0.5},
};

}  // namespace
}  // namespace hypenet

int main(int argc, char** argv) {
  for (const auto& one : hypenet::kCases) {
    benchmark::RegisterBenchmark(one.name, hypenet::sample, one)->Unit(benchmark::kMicrosecond);
  }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
