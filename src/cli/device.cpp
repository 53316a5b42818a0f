// Where and in which type the subcommands compute.
#include "cli/device.h"

#include <cstdlib>

#include "base/error.h"
#include "base/processors.h"
#include "engine/places.h"

namespace hypenet {

torch::Device parse_device(std::string_view text) { return device_of(text, "--device"); }

torch::ScalarType parse_type(std::string_view text) { return type_of(text, "--dtype"); }

std::optional<torch::ScalarType> parse_type_or_auto(std::string_view text) {
  return type_or_auto(text, "--dtype");
}

void add_device_options(CLI::App& command, DeviceOptions& options) {
  command.add_option("--device", options.device, "cpu, cuda or cuda:N")->capture_default_str();
  command
      .add_option("--threads", options.threads,
                  "CPU threads (0: OMP_NUM_THREADS, or one a physical core)")
      ->capture_default_str();
}

torch::Device use_device(const DeviceOptions& options) {
  HYPENET_CHECK(options.threads >= 0 && options.threads <= 4096,
                "--threads: expected 0 to 4096, found ", options.threads);
  if (options.threads > 0) {
    torch::set_num_threads(static_cast<int>(options.threads));
  } else if (std::getenv("OMP_NUM_THREADS") == nullptr) {
    torch::set_num_threads(static_cast<int>(physical_cores()));
  }
  return parse_device(options.device);
}

}  // namespace hypenet
