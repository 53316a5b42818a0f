// Calls are recorded in a CUDA graph and go round sets of inputs and outputs that L2 cannot hold.
#include "bench/kernel_timing.h"

#include <c10/core/CachingDeviceAllocator.h>
#include <fmt/format.h>
#include <torch/cuda.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <optional>
#include <vector>

#include "bench/read_bandwidth.h"
#include "ops/graph.h"
#include "ops/linear.h"

namespace hypenet {
namespace {

/// Sets of inputs, so that together more than 200 MB are in use: a call touches at least half of
/// the bytes that it moves (a state is read and written in place).
int64_t input_sets(const KernelWork& work, const KernelSizes& sizes) {
  constexpr double kBytes = 400e6, kMost = 256;
  if (sizes.is_quick || !can_capture(sizes.device)) return 1;
  return static_cast<int64_t>(std::clamp(std::ceil(kBytes / work.bytes), 1.0, kMost));
}

/// Calls a graph: every set equally often, for about 4 ms or 512 calls.
int64_t recorded_calls(double seconds_a_call, int64_t sets) {
  constexpr double kSeconds = 4e-3, kMost = 512;
  const double calls = std::min(kMost, kSeconds / seconds_a_call);
  return sets * std::max<int64_t>(1, static_cast<int64_t>(calls) / sets);
}

double seconds_of(const std::function<void()>& work) {
  const auto began = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
}

/// Median of seven times of `work`, after `untimed` runs of it.
double median_seconds(int untimed, const std::function<void()>& check_stop,
                      const std::function<void()>& work) {
  constexpr size_t kTimes = 7;
  for (int i = 0; i < untimed; ++i) work();
  std::vector<double> seconds;
  while (seconds.size() < kTimes) {
    check_stop();
    seconds.push_back(seconds_of(work));
  }
  std::ranges::nth_element(seconds, seconds.begin() + kTimes / 2);
  return seconds[kTimes / 2];
}

double seconds_a_call_recorded(const std::vector<KernelCall>& sets, torch::Device device,
                               const std::function<void()>& check_stop) {
  constexpr int kReplays = 2;
  const auto call_all = [&] {
    for (const KernelCall& set : sets) set();
    torch::cuda::synchronize(device.index());
  };
  call_all();  // libraries are loaded, plans made
  const auto count = static_cast<int64_t>(sets.size());
  const int64_t calls = recorded_calls(seconds_of(call_all) / static_cast<double>(count), count);
  std::optional<Graph> graph;
  // Outputs of as many calls as there are sets stay, or all would go to one place that L2 holds.
  std::vector<std::vector<Tensor>> outputs(sets.size());
  graph.emplace(device, [&] {
    for (size_t i = 0; i < static_cast<size_t>(calls); ++i) {
      outputs[i % sets.size()] = sets[i % sets.size()]();
    }
  });
  // Untimed replays also bring an idle device to its clock.
  const double seconds = median_seconds(3, check_stop, [&] {
    for (int i = 0; i < kReplays; ++i) graph->replay();
    torch::cuda::synchronize(device.index());
  });
  return seconds / static_cast<double>(kReplays * calls);
}

/// The time of a case alone: what it took on a GPU is free again.
KernelTime measure_alone(const KernelCase& kernel, torch::Device device) {
  const KernelTime time = measure(kernel, {.device = device});
  if (device.is_cuda()) {
    auto* allocator = c10::getDeviceAllocator(device.type());
    allocator->emptyCache();
    allocator->resetPeakStats(std::max<c10::DeviceIndex>(0, device.index()));
  }
  return time;
}

}  // namespace

KernelCase product_case(int64_t n, const torch::TensorOptions& options) {
  const auto element_bytes = static_cast<double>(options.dtype().itemsize());
  const auto side = static_cast<double>(n);
  return {"matrix product",
          fmt::format("{} x {} x {}", n, n, n),
          {2 * side * side * side, 3 * side * side * element_bytes},
          [=]() -> KernelCall {
            const Tensor a = torch::randn({n, n}, options), b = torch::randn({n, n}, options);
            return [=] {
              const torch::NoGradGuard no_grad;
              return std::vector<Tensor>{product(a, b)};
            };
          }};
}

KernelCase copy_case(const torch::TensorOptions& options) {
  const int64_t count = options.device().is_cuda() ? int64_t{1} << 30 : int64_t{1} << 22;
  const double bytes = static_cast<double>(count) * static_cast<double>(options.dtype().itemsize());
  return {"copy",
          fmt::format("{} MiB", static_cast<int64_t>(bytes) >> 20),
          {0, 2 * bytes},
          [=]() -> KernelCall {
            // Through a kernel: a graph's own copies run at two thirds of the rate (2.8 of 4.3 TB/s
            // on an H200). Written once before, so that all its pages exist.
            const Tensor from = torch::randn({count}, options);
            Tensor to = torch::zeros({count}, options);
            return [=]() mutable -> std::vector<Tensor> { return {at::neg_out(to, from)}; };
          }};
}

KernelTime measure(const KernelCase& kernel, const KernelSizes& sizes,
                   const std::function<void()>& check_stop) {
  check_stop();
  std::vector<KernelCall> sets;
  for (int64_t i = 0; i < input_sets(kernel.work, sizes); ++i) sets.push_back(kernel.make());
  const double seconds = can_capture(sizes.device)
                             ? seconds_a_call_recorded(sets, sizes.device, check_stop)
                             : median_seconds(1, check_stop, [&] { sets.front()(); });
  return {kernel.name, kernel.shape, kernel.work, seconds};
}

double product_rate(torch::Device device, torch::ScalarType type) {
  const int64_t n = device.is_cuda() ? 8192 : 1024;
  return measure_alone(product_case(n, torch::TensorOptions(device).dtype(type)), device).flops();
}

double memory_rate(torch::Device device) {
  if (device.is_cpu()) return read_bandwidth();
  return measure_alone(copy_case(torch::TensorOptions(device).dtype(torch::kBFloat16)), device)
      .bandwidth();
}

}  // namespace hypenet
