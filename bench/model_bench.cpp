// A training-like step (forward and backward without the head) of the demo's HypeNet and of its
// teacher, and the matrix-product rate that bounds it. Items are tokens; flops counts 6 a parameter
// and token.
#include <benchmark/benchmark.h>
#include <torch/types.h>
#include <torch/utils.h>

#include "model/causal_lm.h"

namespace hypenet {
namespace {

constexpr int64_t kBatch = 8, kLength = 256;

ModelConfig demo_teacher() {
  ModelConfig config;
  config.hidden_size = 128, config.intermediate_size = 384, config.num_hidden_layers = 8;
  config.vocab_size = 4096, config.num_attention_heads = 4, config.num_key_value_heads = 2;
  config.head_dim = 32, config.has_qk_norm = true, config.tie_word_embeddings = true;
  config.mixer_types.assign(8, &kAttentionMixer);
  return config;
}

ModelConfig demo_hypenet() {
  ModelConfig config = demo_teacher();
  config.architecture = Architecture::kHypeNet;
  config.mixer_types.assign(8, &kLightningMixer);
  config.mixer_types[3] = config.mixer_types[7] = &kAttentionMixer;
  config.attn_use_rope = false, config.attn_use_output_gate = true;
  config.mixers.of<LightningConfig>() = {.nh = 4, .nkv = 4, .head_dim = 32};
  return config;
}

double matrix_parameters(const CausalLmImpl& model) {
  double count = 0;
  for (const auto& parameter : model.named_parameters()) {
    if (!parameter.key().ends_with("embed_tokens.weight")) count += parameter.value().numel();
  }
  return count;
}

void train_step(benchmark::State& state, const ModelConfig& config) {
  torch::manual_seed(0);
  CausalLm model(config);
  const Tensor ids = torch::randint(0, config.vocab_size, {kBatch, kLength}, torch::kInt64);
  for (auto _ : state) {
    model->zero_grad();
    model->hidden(ids).sum().backward();
  }
  const double tokens = kBatch * kLength;
  state.SetItemsProcessed(state.iterations() * kBatch * kLength);
  state.counters["flops"] = benchmark::Counter(6 * tokens * matrix_parameters(*model),
                                               benchmark::Counter::kIsIterationInvariantRate,
                                               benchmark::Counter::kIs1000);
}

void hypenet_step(benchmark::State& state) { train_step(state, demo_hypenet()); }
void teacher_step(benchmark::State& state) { train_step(state, demo_teacher()); }

void teacher_forward(benchmark::State& state) {
  const torch::NoGradGuard no_grad;
  CausalLm model(demo_teacher());
  const Tensor ids = torch::randint(0, 4096, {kBatch, kLength}, torch::kInt64);
  for (auto _ : state) benchmark::DoNotOptimize(model->hidden(ids));
  state.SetItemsProcessed(state.iterations() * kBatch * kLength);
}

/// x W^T of the step's tokens: the rate of its matrix products alone.
void matrix_product(benchmark::State& state) {
  const Tensor x = torch::randn({kBatch * kLength, state.range(0)});
  const Tensor w = torch::randn({state.range(1), state.range(0)});
  for (auto _ : state) benchmark::DoNotOptimize(at::linear(x, w));
  state.counters["flops"] = benchmark::Counter(
      2.0 * kBatch * kLength * state.range(0) * state.range(1),
      benchmark::Counter::kIsIterationInvariantRate, benchmark::Counter::kIs1000);
}

BENCHMARK(hypenet_step)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(teacher_step)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(teacher_forward)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(matrix_product)->Args({128, 128})->Args({128, 384})->Args({384, 128})->UseRealTime();

}  // namespace
}  // namespace hypenet

BENCHMARK_MAIN();
