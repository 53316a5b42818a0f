// hypenet bench prefill: milliseconds from a prompt of random ids to its first token, through the
// engine, beside the time of its arithmetic at the rate of a large matrix product.
#include <c10/core/CachingDeviceAllocator.h>
#include <fmt/format.h>

#include <chrono>
#include <iostream>
#include <memory>

#include "base/error.h"
#include "base/random.h"
#include "bench/kernel_timing.h"
#include "bench/model_flops.h"
#include "cli/bench.h"
#include "cli/bench_inference.h"
#include "cli/interrupt.h"
#include "cli/numbers.h"
#include "cli/progress.h"
#include "engine/engine.h"
#include "train/step.h"

namespace hypenet {
namespace {

constexpr int64_t kShortPrompt = 131072;  // longer ones run once, without a run before

struct BenchPrefill {
  BenchInference common;
  int64_t chunk = 0;
  bool has_no_graphs = false;
};

/// Until the first token is there.
double prefill_ms(Engine& engine, int64_t context) {
  Request request;
  Random random(0);
  for (int64_t i = 0; i < context; ++i) {
    request.prompt.push_back(static_cast<int32_t>(random.below(engine.config().vocab_size)));
  }
  request.options.max_tokens = 1;
  const auto began = std::chrono::steady_clock::now();
  engine.submit(std::move(request));
  while (!engine.is_idle()) {
    throw_if_interrupted();
    engine.step();
  }
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - began)
      .count();
}

/// In an engine with memory for this prompt alone.
double measure(CausalLm& model, int64_t context, const BenchPrefill& bench) {
  const EngineOptions options{.memory_bytes = INT64_MAX,
                              .max_sequences = 1,
                              .max_context = context + 1,
                              .prefill_chunk = bench.chunk,
                              .uses_graphs = !bench.has_no_graphs};
  Engine engine(model, options);
  prefill_ms(engine, 1);  // takes the memory
  if (context > kShortPrompt) return prefill_ms(engine, context);
  prefill_ms(engine, context);
  double best = prefill_ms(engine, context);
  for (int i = 0; i < 2; ++i) best = std::min(best, prefill_ms(engine, context));
  return best;
}

void bench_prefill(const BenchPrefill& options) {
  check(options.common);
  const torch::Device device = use_device(options.common.device);
  const auto& contexts = options.common.contexts;
  const double rate = product_rate(device, compute_type(options.common, device));
  std::vector<SpeedPoint> points;
  Table table{
      {"shape", "context", "ms", "tokens/s", "floor ms", "floor / ms", "TFLOP/s", "peak memory"},
      {}};
  Progress progress;
  for (const std::string& shape : options.common.shapes) {
    CausalLm model = inference_model(shape, options.common, device);
    for (const int64_t context : contexts) {
      progress.show(fmt::format("bench prefill: {} at {}", shape, readable_tokens(context)));
      if (device.is_cuda()) {
        c10::getDeviceAllocator(device.type())->resetPeakStats(std::max<int>(device.index(), 0));
      }
      const double ms = measure(model, context, options);
      const double flops =
          total_flops(prefill_flops(model->config(), context)) * static_cast<double>(context);
      const double floor = flops / rate * 1e3;
      points.push_back({shape, context, ms, floor});
      table.rows.push_back(
          {shape, with_commas(context), fmt::format("{:.1f}", ms),
           with_commas(static_cast<int64_t>(static_cast<double>(context) / ms * 1e3)),
           fmt::format("{:.1f}", floor), fmt::format("{:.2f}", floor / ms),
           fmt::format("{:.3g}", flops / ms / 1e9),
           device.is_cuda() ? readable_bytes(peak_device_bytes(device).allocated) : "-"});
    }
  }
  progress.finish("bench prefill: done");
  std::cout << fmt::format(
                   "prefill of one prompt, weights {} (of files: as stored), {}; floor: the "
                   "arithmetic at {:.3g} "
                   "TFLOP/s, a large product's rate in this run\n\n",
                   options.common.type, device.str(), rate / 1e12)
            << format_table(table);
  write_results(options.common, "Prefill: milliseconds to the first token", points);
}

}  // namespace

void add_bench_prefill_command(CLI::App& bench) {
  const auto options = std::make_shared<BenchPrefill>();
  CLI::App* command = bench.add_subcommand("prefill", "ms from a prompt to its first token");
  add_inference_options(*command, options->common);
  command->add_option("--chunk", options->chunk, "tokens of the prompt a step (0: the engine's)")
      ->capture_default_str();
  command->add_flag("--no-graphs", options->has_no_graphs,
                    "short pieces run call by call, not from recordings");
  command->footer(
      "Example:\n  hypenet bench prefill --shape hypenet-2b --context 4096,32768,131072 --device "
      "cuda --plot prefill.svg");
  command->callback([options] { bench_prefill(*options); });
}

}  // namespace hypenet
