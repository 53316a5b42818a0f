// What `hypenet bench decode` and `hypenet bench prefill` share: the models, and how results are
// shown.
#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "cli/device.h"
#include "model/causal_lm.h"
#include "report/chart.h"
#include "report/table.h"

namespace hypenet {

struct BenchInference {
  std::vector<std::string> shapes = {"hypenet-2b"};
  std::vector<int64_t> contexts = {4096, 32768, 131072};
  std::string type = "bfloat16";
  std::filesystem::path plot, compare, json;
  DeviceOptions device;
};

/// Adds --shape, --context, --dtype, --plot, --compare, --json and the device's; `options` must
/// outlive the parsing.
void add_inference_options(CLI::App& command, BenchInference& options);

/// Throws Error for contexts that are not positive, or none.
void check(const BenchInference& options);

/// The type that these options multiply in: that of the weights, but float32 on a CPU.
torch::ScalarType compute_type(const BenchInference& options, torch::Device device);

/// Random weights of --dtype, which compute in compute_type; of a folder or a GGUF file its own, as
/// open_model has them without a type.
CausalLm inference_model(const std::string& shape, const BenchInference& options,
                         torch::Device device);

struct SpeedPoint {
  std::string shape;
  int64_t context = 0;
  double ms = 0, floor_ms = 0;
  std::optional<int64_t> cache_bytes = {};  // keys, values and states of one sequence
};

/// Writes what was asked for: a plot of milliseconds and floors over the context, beside the series
/// of the compare file ({"series": [{"name", "context": [..], "ms": [..]}]}); the points as JSON.
void write_results(const BenchInference& options, const std::string& title,
                   const std::vector<SpeedPoint>& points);

/// Bytes of the weights that one step reads: all but an embedding that is not the head too.
int64_t step_weight_bytes(CausalLm& model);

}  // namespace hypenet
