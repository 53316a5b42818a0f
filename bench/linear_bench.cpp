// The linear layers of a step on a CPU: one row against more weights than a cache holds, beside a
// plain read of them; 256 rows, beside libtorch's and oneDNN's float32 products; packed weights by
// each of the machine's instructions.
#include <ATen/Parallel.h>
#include <benchmark/benchmark.h>
#include <torch/types.h>
#include <torch/utils.h>

#include "base/processors.h"
#include "kernels/read_memory.h"
#include "ops/linear.h"
#include "ops/linear_step.h"
#include "ops/packed_weight.h"

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

using kernels::PackedForm;

/// A matrix [out, K] of a type of ggml's; all of its numbers are small and finite.
PackedWeightPointer random_packed(const char* stored, int64_t bytes, int64_t out, int64_t K) {
  const torch::Tensor rows = torch::randint(256, {out, bytes}, torch::kUInt8).bitwise_and(0x2F);
  return pack_weight({.stored = stored, .rows = rows, .columns = K}, Activations::kInt8);
}

/// Of rows that are rounded already, one thread.
void packed(benchmark::State& state, const char* stored, kernels::PackedKind kind,
            PackedForm form) {
  const int64_t N = state.range(2), K = state.range(0), out = state.range(1);
  const auto weight = random_packed(stored, kernels::file_row_bytes(kind, K), out, K);
  const torch::Tensor x = torch::randn({N, K});
  std::vector<kernels::RowBlock> rows(static_cast<size_t>((N + 7) * kernels::packed_blocks(K)));
  kernels::PackRowsParams rounding{};
  rounding.x = x.const_data_ptr<float>(), rounding.size = rounding.x_row = K;
  kernels::round_rows(rounding, rows.data(), 0, N);
  torch::Tensor y = torch::empty({N, out});
  const kernels::PackedLinearParams params{.x = rows.data(),
                                           .weight = weight->matrix,
                                           .bias = nullptr,
                                           .y = y.mutable_data_ptr<float>(),
                                           .rows = N,
                                           .y_row = out,
                                           .adds = false};
  for (auto _ : state) {
    if (!kernels::packed_linear_by(form, params, 0, kernels::packed_groups(out))) {
      state.SkipWithError("not on this machine");
    }
  }
  count_flops(state, N);
}

void packed_shapes(benchmark::internal::Benchmark* benchmark) {
  for (const int64_t rows : {1, 16, 512}) {
    benchmark->Args({768, 4864, rows})->Args({4864, 768, rows});
  }
}

#define HYPENET_PACKED(type, kind, form)                                                       \
  BENCHMARK_CAPTURE(packed, type##_##form, #type, kernels::PackedKind::kind, PackedForm::form) \
      ->Apply(packed_shapes)
#define HYPENET_PACKED_FORMS(type, kind) \
  HYPENET_PACKED(type, kind, kAmx);      \
  HYPENET_PACKED(type, kind, kVnni);     \
  HYPENET_PACKED(type, kind, kAvx2)
HYPENET_PACKED_FORMS(Q8_0, kQ80);
HYPENET_PACKED_FORMS(Q5_0, kQ50);
HYPENET_PACKED_FORMS(Q4_K, kQ4K);
HYPENET_PACKED_FORMS(Q6_K, kQ6K);

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
