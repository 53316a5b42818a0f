// hypenet bench decode: milliseconds of a decode step over the context, beside what reading the
// weights, the cache and the states once would take. The cache holds random numbers.
#include <fmt/format.h>

#include <chrono>
#include <iostream>
#include <memory>
#include <optional>

#include "base/error.h"
#include "bench/kernel_timing.h"
#include "cli/bench.h"
#include "cli/bench_inference.h"
#include "cli/interrupt.h"
#include "cli/numbers.h"
#include "cli/progress.h"
#include "engine/runner.h"

namespace hypenet {
namespace {

constexpr int64_t kUntimedSteps = 4;  // eager, recorded, and two more

struct BenchDecode {
  BenchInference common;
  int64_t batch = 1, steps = 50;
};

struct Timing {
  double ms = 0;         // of a step as it is served: its tokens are read when the next one runs
  double device_ms = 0;  // of a step when many are queued
};

double ms_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin)
      .count();
}

/// One page of random numbers, in all pages.
void fill(const KvPages& pages) {
  const int64_t P = pages.page_tokens();
  const auto options = torch::TensorOptions().device(pages.tensors().front().device());
  const auto random = [&] { return torch::randn({P, pages.heads(), pages.head_size()}, options); };
  pages.write(torch::arange(P, options.dtype(torch::kInt64)), {random(), random()});
  for (const Tensor& x : pages.tensors()) x.slice(0, 1).copy_(x.slice(0, 0, 1));
}

/// Sequences of random keys, values and states, as long as the longest context.
class Bench {
 public:
  Bench(CausalLm& model, const BenchDecode& options)
      : options_(options),
        memory_(model, memory_options(options)),
        runner_(model, memory_, /*uses_graphs=*/true) {
    for (auto& layer : memory_.state().layers) {
      if (const auto* pages = std::get_if<KvPages>(&layer)) fill(*pages);
    }
    for (int64_t i = 0; i < options.batch; ++i) {
      leases_.push_back(*memory_.lease(longest(options)));
      slots_.push_back(leases_.back().slot);
      runner_.start(slots_.back(), {}, {});
    }
  }

  Timing measure(int64_t context) {
    const int64_t all = kUntimedSteps + 2 * options_.steps;
    for (const int64_t slot : slots_) {
      runner_.place(slot, std::max<int64_t>(context - all / 2, 0), 1);
    }
    for (int64_t i = 0; i < kUntimedSteps; ++i) runner_.decode(slots_).read();
    const auto steps = static_cast<double>(options_.steps);
    auto began = std::chrono::steady_clock::now();
    std::optional<Chosen> last;
    for (int64_t i = 0; i < options_.steps; ++i) {
      throw_if_interrupted();
      Chosen next = runner_.decode(slots_);
      if (last) check(*last);
      last.emplace(std::move(next));
    }
    check(*last);
    Timing timing{.ms = ms_since(began) / steps};
    began = std::chrono::steady_clock::now();
    for (int64_t i = 0; i < options_.steps; ++i) last.emplace(runner_.decode(slots_));
    check(*last);
    timing.device_ms = ms_since(began) / steps;
    return timing;
  }

 private:
  static int64_t longest(const BenchDecode& options) {
    const auto& contexts = options.common.contexts;
    return *std::max_element(contexts.begin(), contexts.end()) + kUntimedSteps + 2 * options.steps;
  }

  /// As much memory as these sequences can use.
  static EngineOptions memory_options(const BenchDecode& options) {
    return {
        .memory_bytes = INT64_MAX, .max_sequences = options.batch, .max_context = longest(options)};
  }

  static void check(Chosen& chosen) {
    for (const auto& token : chosen.read()) {
      HYPENET_CHECK(token.id >= 0, "bench decode: expected finite logits, found nan or infinity");
    }
  }

  const BenchDecode& options_;
  Memory memory_;
  Runner runner_;
  std::vector<Lease> leases_;
  std::vector<int64_t> slots_;
};

/// Bytes of one sequence's keys, values and states after so many tokens.
int64_t cache_bytes(CausalLm& model, int64_t context) {
  const auto types = model->memory_types();
  return page_bytes(model->config(), types, 1) * context + slot_bytes(model->config(), types);
}

/// Bytes that a step has to read and write: the weights, each sequence's cache once, its states
/// twice.
double step_bytes(CausalLm& model, int64_t context, int64_t batch) {
  const int64_t states = slot_bytes(model->config(), model->memory_types());
  const int64_t sequence = cache_bytes(model, context) + states;
  return static_cast<double>(step_weight_bytes(model) + batch * sequence);
}

void bench_decode(const BenchDecode& options) {
  check(options.common);
  HYPENET_CHECK(options.batch > 0, "--batch: expected 1 or more, found ", options.batch);
  HYPENET_CHECK(options.steps > 0, "--steps: expected 1 or more, found ", options.steps);
  const torch::Device device = use_device(options.common.device);
  const torch::NoGradGuard no_grad;
  const double bandwidth = memory_rate(device);
  std::vector<SpeedPoint> points;
  Table table{{"shape", "context", "ms a token", "device ms", "device busy", "floor ms",
               "floor / ms", "tokens/s", "GB read"},
              {}};
  Progress progress;
  for (const std::string& shape : options.common.shapes) {
    CausalLm model = inference_model(shape, options.common, device);
    Bench bench(model, options);
    for (const int64_t context : options.common.contexts) {
      progress.show(fmt::format("bench decode: {} at {}", shape, readable_tokens(context)));
      const Timing timing = bench.measure(context);
      const double bytes = step_bytes(model, context, options.batch);
      const double floor = bytes / bandwidth * 1e3;
      points.push_back({shape, context, timing.ms, floor, cache_bytes(model, context)});
      table.rows.push_back(
          {shape, with_commas(context), fmt::format("{:.3f}", timing.ms),
           fmt::format("{:.3f}", timing.device_ms),
           fmt::format("{:.0f} %", std::min(100.0, timing.device_ms / timing.ms * 100)),
           fmt::format("{:.3f}", floor), fmt::format("{:.2f}", floor / timing.ms),
           with_commas(static_cast<int64_t>(static_cast<double>(options.batch) / timing.ms * 1e3)),
           fmt::format("{:.2f}", bytes / 1e9)});
    }
  }
  progress.finish("bench decode: done");
  std::cout << fmt::format(
                   "decode, {} sequences side by side, weights {} (of files: as stored), {}; "
                   "floor: weights, cache and "
                   "states at {:.4g} GB/s, {} in this run\n\n",
                   options.batch, options.common.type, device.str(), bandwidth / 1e9,
                   device.is_cuda() ? "a copy's rate" : "a read's rate")
            << format_table(table);
  write_results(options.common, "Decode: milliseconds a token", points);
}

}  // namespace

void add_bench_decode_command(CLI::App& bench) {
  const auto options = std::make_shared<BenchDecode>();
  CLI::App* command = bench.add_subcommand("decode", "ms a token over the context");
  add_inference_options(*command, options->common);
  command->add_option("--batch", options->batch, "sequences side by side")->capture_default_str();
  command->add_option("--steps", options->steps, "steps that are timed")->capture_default_str();
  command->footer(
      "Example:\n  hypenet bench decode --shape hypenet-2b,qwen3-1.7b --context "
      "4096,32768,131072,524288,1048576 --device cuda --plot decode.svg");
  command->callback([options] { bench_decode(*options); });
}

}  // namespace hypenet
