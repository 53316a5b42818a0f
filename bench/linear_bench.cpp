// The linear layers of a step on a CPU: one row against more weights than a cache holds, beside a
// plain read of them; 256 rows, beside libtorch's and oneDNN's float32 products.
#include <ATen/Parallel.h>
#include <benchmark/benchmark.h>
#include <torch/types.h>
#include <torch/utils.h>

#include "base/processors.h"
#include "kernels/read_memory.h"
#include "ops/linear.h"
#include "ops/linear_step.h"

namespace hypenet {
namespace {

constexpr int64_t kBytes = 256 << 20;  // of weights that decode goes round

/// Layers [out, K] in bfloat16, as many as make kBytes.
std::vector<LinearWeights> layers(int64_t out, int64_t K) {
  std::vector<LinearWeights> made;
  for (int64_t bytes = 0; bytes < kBytes; bytes += 2 * out * K) {
    made.push_back({torch::randn({out, K}).mul_(0.02).to(torch::kBFloat16)});
  }
  return made;
}

void decode(benchmark::State& state) {
  torch::set_num_threads(static_cast<int>(physical_cores()));
  const int64_t K = state.range(0), out = state.range(1);
  const std::vector<LinearWeights> all = layers(out, K);
  const torch::Tensor x = torch::randn({1, K});
  for (auto _ : state) {
    for (const LinearWeights& layer : all) {
      benchmark::DoNotOptimize(linear_step({.x = x, .layers = {&layer, 1}}));
    }
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(all.size()) * 2 * out * K);
}

void read(benchmark::State& state) {
  torch::set_num_threads(static_cast<int>(physical_cores()));
  const torch::Tensor x = torch::ones({2 * kBytes / 8}, torch::kInt64);
  const auto* const words = reinterpret_cast<const uint64_t*>(x.const_data_ptr<int64_t>());
  for (auto _ : state) {
    at::parallel_for(0, x.numel(), 1 << 16, [&](int64_t begin, int64_t end) {
      benchmark::DoNotOptimize(kernels::read_memory(words + begin, end - begin));
    });
  }
  state.SetBytesProcessed(state.iterations() * 2 * kBytes);
}

void count_flops(benchmark::State& state, int64_t N) {
  state.counters["flops"] = benchmark::Counter(
      2.0 * static_cast<double>(N * state.range(0) * state.range(1)),
      benchmark::Counter::kIsIterationInvariantRate, benchmark::Counter::kIs1000);
}

void prefill(benchmark::State& state) {
  torch::set_num_threads(static_cast<int>(physical_cores()));
  const torch::Tensor x = torch::randn({256, state.range(0)});
  const LinearWeights layer{torch::randn({state.range(1), state.range(0)}).to(torch::kBFloat16)};
  for (auto _ : state) benchmark::DoNotOptimize(linear_step({.x = x, .layers = {&layer, 1}}));
  count_flops(state, 256);
}

template <torch::Tensor (*multiply)(const torch::Tensor&, const torch::Tensor&)>
void prefill_float32(benchmark::State& state) {
  torch::set_num_threads(static_cast<int>(physical_cores()));
  const torch::Tensor x = torch::randn({256, state.range(0)});
  const torch::Tensor weight = torch::randn({state.range(1), state.range(0)});
  for (auto _ : state) benchmark::DoNotOptimize(multiply(x, weight));
  count_flops(state, 256);
}
torch::Tensor at_linear(const torch::Tensor& x, const torch::Tensor& w) { return at::linear(x, w); }

void shapes(benchmark::internal::Benchmark* benchmark) {
  benchmark->Args({576, 960})->Args({576, 3072})->Args({1536, 576})->Args({2048, 6144});
  benchmark->Args({6144, 2048})->UseRealTime();
}

BENCHMARK(read)->UseRealTime();
BENCHMARK(decode)->Apply(shapes);
BENCHMARK(prefill)->Apply(shapes);
BENCHMARK(prefill_float32<at_linear>)->Name("at::linear")->Apply(shapes);
BENCHMARK(prefill_float32<product>)->Name("oneDNN")->Apply(shapes);

}  // namespace
}  // namespace hypenet

BENCHMARK_MAIN();
