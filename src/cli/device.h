// --device, --dtype and --threads, alike in every subcommand that computes.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace hypenet {

/// "cpu", "cuda" or "cuda:N". Throws Error for another word, and for a GPU that this build or
/// machine does not have.
torch::Device parse_device(std::string_view text);

/// Any name of float32, bfloat16 or float64 ("bf16", "double"); throws Error naming the choices.
torch::ScalarType parse_type(std::string_view text);

/// The same, and nullopt for "auto".
std::optional<torch::ScalarType> parse_type_or_auto(std::string_view text);

struct DeviceOptions {
  std::string device = "cpu";
  int64_t threads = 0;  // 0: as OMP_NUM_THREADS says, or one a physical core
};

/// Adds --device and --threads; `options` must outlive the parsing.
void add_device_options(CLI::App& command, DeviceOptions& options);

/// Sets the number of threads and returns the device. Throws Error as parse_device does, or for
/// negative threads.
torch::Device use_device(const DeviceOptions& options);

}  // namespace hypenet
