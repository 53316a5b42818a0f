// hypenet bench kernels: the time of each kernel beside the least that this machine could need.
// Calls are recorded in a CUDA graph and go round sets of inputs and outputs that L2 cannot hold.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>

#include "base/error.h"
#include "base/json.h"
#include "cli/bench.h"
#include "cli/bench_kernel_cases.h"
#include "cli/device.h"
#include "cli/interrupt.h"
#include "eval/report.h"
#include "ops/graph.h"

namespace hypenet {
namespace {

struct BenchKernels {
  std::string filter;
  std::optional<std::filesystem::path> json;
  bool is_quick = false;
  DeviceOptions device;
};

/// FLOP and bytes a second.
struct Ceilings {
  double flops = 0, bandwidth = 0;

  double seconds(const KernelWork& work) const {
    return std::max(work.flops / flops, work.bytes / bandwidth);
  }
  bool is_bound_by_flops(const KernelWork& work) const {
    return work.flops / flops > work.bytes / bandwidth;
  }
};

constexpr Ceilings kReference{kPeakFlops, kPeakBandwidth};

struct KernelTime {
  std::string kernel, shape;
  KernelWork work;
  double seconds = 0;
};

/// Sets of inputs, so that together more than 200 MB are in use: a call touches at least half of
/// the bytes that it moves (a state is read and written in place).
int64_t input_sets(const KernelWork& work, const KernelSizes& sizes) {
  constexpr double kBytes = 400e6, kMost = 256;
  if (sizes.is_quick) return 1;
  return static_cast<int64_t>(std::clamp(std::ceil(kBytes / work.bytes), 1.0, kMost));
}

/// Calls a graph: every set equally often, for about 4 ms or 512 calls.
int64_t recorded_calls(const KernelWork& work, int64_t sets) {
  constexpr double kSeconds = 4e-3, kMost = 512;
  const double calls = std::min(kMost, kSeconds / kReference.seconds(work));
  return sets * std::max<int64_t>(1, static_cast<int64_t>(calls) / sets);
}

double seconds_of(const std::function<void()>& work) {
  const auto began = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
}

/// Median of seven times of `work`, after `untimed` runs of it.
double median_seconds(int untimed, const std::function<void()>& work) {
  constexpr size_t kTimes = 7;
  for (int i = 0; i < untimed; ++i) work();
  std::vector<double> seconds;
  while (seconds.size() < kTimes) {
    throw_if_interrupted();
    seconds.push_back(seconds_of(work));
  }
  std::ranges::nth_element(seconds, seconds.begin() + kTimes / 2);
  return seconds[kTimes / 2];
}

double seconds_a_call_recorded(const std::vector<KernelCall>& sets, int64_t calls,
                               torch::Device device) {
  constexpr int kReplays = 2;
  // Twice before the recording: libraries are loaded, plans made.
  for (int i = 0; i < 2; ++i) sets.front()();
  std::optional<Graph> graph;
  // Outputs of as many calls as there are sets stay, or all would go to one place that L2 holds.
  std::vector<std::vector<Tensor>> outputs(sets.size());
  graph.emplace(device, [&] {
    for (size_t i = 0; i < static_cast<size_t>(calls); ++i) {
      outputs[i % sets.size()] = sets[i % sets.size()]();
    }
  });
  // Untimed replays also bring an idle device to its clock.
  const double seconds = median_seconds(3, [&] {
    for (int i = 0; i < kReplays; ++i) graph->replay();
    torch::cuda::synchronize(device.index());
  });
  return seconds / static_cast<double>(kReplays * calls);
}

KernelTime measure(const KernelCase& kernel, const KernelSizes& sizes) {
  throw_if_interrupted();
  std::vector<KernelCall> sets;
  for (int64_t i = 0; i < input_sets(kernel.work, sizes); ++i) sets.push_back(kernel.make());
  const int64_t calls = recorded_calls(kernel.work, static_cast<int64_t>(sets.size()));
  const double seconds = can_capture(sizes.device)
                             ? seconds_a_call_recorded(sets, calls, sizes.device)
                             : median_seconds(1, [&] { sets.front()(); });
  return {kernel.name, kernel.shape, kernel.work, seconds};
}

std::vector<KernelCase> chosen_cases(const BenchKernels& options, const KernelSizes& sizes) {
  std::vector<KernelCase> cases = kernel_cases(sizes);
  std::string names;
  for (const KernelCase& kernel : cases) {
    const bool is_known = names.find(" " + kernel.name + ",") != std::string::npos;
    if (!is_known && !kernel.name.ends_with(" + backward")) names += " " + kernel.name + ",";
  }
  std::erase_if(cases, [&](const KernelCase& kernel) {
    return kernel.name.find(options.filter) == std::string::npos;
  });
  HYPENET_CHECK(!cases.empty(), "--filter: expected a part of one of", names, " found \"",
                options.filter, "\"");
  return cases;
}

std::string percent(double share) { return fmt::format("{:.1f} %", share * 100); }

Table time_table(const std::vector<KernelTime>& times, const Ceilings& ceilings, bool is_cuda) {
  Table table{{"kernel", "shape", "ms", "TFLOP/s", "TB/s", "floor ms", "limit", "share"}, {}};
  if (is_cuda) table.header.emplace_back("of 710 TFLOP/s, 4.3 TB/s");
  for (const KernelTime& time : times) {
    const double floor = ceilings.seconds(time.work);
    const double flops = time.work.flops / time.seconds;
    std::vector<std::string> row = {time.kernel,
                                    time.shape,
                                    fmt::format("{:.4g}", time.seconds * 1e3),
                                    flops > 0 ? fmt::format("{:.4g}", flops / 1e12) : "-",
                                    fmt::format("{:.3g}", time.work.bytes / time.seconds / 1e12),
                                    fmt::format("{:.4g}", floor * 1e3),
                                    ceilings.is_bound_by_flops(time.work) ? "FLOPs" : "bytes",
                                    percent(floor / time.seconds)};
    if (is_cuda) row.push_back(percent(kReference.seconds(time.work) / time.seconds));
    table.rows.push_back(std::move(row));
  }
  return table;
}

Json time_json(const std::vector<KernelTime>& times, const Ceilings& ceilings) {
  Json json = Json::array();
  for (const KernelTime& time : times) {
    json.push_back({{"kernel", time.kernel},
                    {"shape", time.shape},
                    {"seconds", time.seconds},
                    {"flops", time.work.flops},
                    {"bytes", time.work.bytes},
                    {"floor_seconds", ceilings.seconds(time.work)},
                    {"reference_floor_seconds", kReference.seconds(time.work)}});
  }
  return json;
}

void bench_kernels(const BenchKernels& options) {
  const torch::Device device = use_device(options.device);
  const KernelSizes sizes{.device = device, .is_quick = options.is_quick || device.is_cpu()};
  const std::vector<KernelCase> cases = chosen_cases(options, sizes);
  torch::manual_seed(0);
  std::vector<KernelTime> times;
  for (const KernelCase& kernel : ceiling_cases(sizes)) times.push_back(measure(kernel, sizes));
  const Ceilings ceilings{times[0].work.flops / times[0].seconds,
                          times[1].work.bytes / times[1].seconds};
  for (const KernelCase& kernel : cases) times.push_back(measure(kernel, sizes));
  std::cout
      << fmt::format("{}, {}{}\n\n", device.str(), type_name(sizes.type()),
                     sizes.is_quick ? ", quick: small sizes, which say little of speed" : "")
      << format_table(time_table(times, ceilings, device.is_cuda()))
      << "\nfloor: the longer of FLOPs and bytes at the rates of the first two rows; share: "
         "floor / time\nbytes: inputs and outputs once forward, and again what backward reads "
         "and writes\n";
  if (options.json) write_json(*options.json, time_json(times, ceilings));
}

}  // namespace

void add_bench_kernels_command(CLI::App& bench) {
  const auto options = std::make_shared<BenchKernels>();
  CLI::App* command = bench.add_subcommand("kernels", "time of each kernel beside its floor");
  command->add_option("--filter", options->filter, "only kernels whose name contains this");
  command->add_flag("--quick", options->is_quick, "small sizes, in seconds; always so on a CPU");
  command->add_option("--json", options->json, "also write the times to this file");
  add_device_options(*command, options->device);
  command->footer(
      "bfloat16 on a GPU, float32 on a CPU. On a GPU calls are recorded in a CUDA graph and go\n"
      "round sets of inputs and outputs of more than 200 MB, since a 60 MB L2 would hold fewer;\n"
      "the time is the median of seven, each of two replays up to the end of the device's work.\n\n"
      "Example:\n  hypenet bench kernels --device cuda\n"
      "  hypenet bench kernels --quick --filter norm");
  command->callback([options] { bench_kernels(*options); });
}

}  // namespace hypenet
