// hypenet bench kernels: the time of each kernel beside the least that this machine could need.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>

#include "base/error.h"
#include "base/json.h"
#include "bench/kernel_cases.h"
#include "bench/kernel_timing.h"
#include "cli/bench.h"
#include "cli/device.h"
#include "cli/interrupt.h"
#include "engine/open.h"
#include "report/table.h"

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

Table time_table(const std::vector<KernelTime>& times, const Ceilings& ceilings) {
  Table table{{"kernel", "shape", "ms", "TFLOP/s", "TB/s", "floor ms", "limit", "share"}, {}};
  for (const KernelTime& time : times) {
    const double floor = ceilings.seconds(time.work);
    table.rows.push_back(
        {time.kernel, time.shape, fmt::format("{:.4g}", time.seconds * 1e3),
         time.work.flops > 0 ? fmt::format("{:.4g}", time.flops() / 1e12) : "-",
         fmt::format("{:.3g}", time.bandwidth() / 1e12), fmt::format("{:.4g}", floor * 1e3),
         ceilings.is_bound_by_flops(time.work) ? "FLOPs" : "bytes", percent(floor / time.seconds)});
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
                    {"floor_seconds", ceilings.seconds(time.work)}});
  }
  return json;
}

void bench_kernels(const BenchKernels& options) {
  const torch::Device device = use_device(options.device);
  const KernelSizes sizes{.device = device, .is_quick = options.is_quick || device.is_cpu()};
  const std::vector<KernelCase> cases = chosen_cases(options, sizes);
  torch::manual_seed(0);
  std::vector<KernelTime> times;
  const auto time = [&](const KernelCase& kernel) {
    times.push_back(measure(kernel, sizes, throw_if_interrupted));
  };
  std::ranges::for_each(ceiling_cases(sizes), time);
  const Ceilings ceilings{times[0].flops(), times[1].bandwidth()};
  std::ranges::for_each(cases, time);
  std::cout
      << fmt::format("{}, {}{}\n\n", device.str(), type_name(sizes.type()),
                     sizes.is_quick ? ", quick: small sizes, which say little of speed" : "")
      << format_table(time_table(times, ceilings))
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
      "round sets of inputs and outputs of more than 200 MB, since an L2 would hold fewer;\n"
      "the time is the median of seven, each of two replays up to the end of the device's work.\n\n"
      "Example:\n  hypenet bench kernels --device cuda\n"
      "  hypenet bench kernels --quick --filter norm");
  command->callback([options] { bench_kernels(*options); });
}

}  // namespace hypenet
