// Where and in which type the subcommands compute.
#include "cli/device.h"

#include <torch/cuda.h>

#include <charconv>
#include <cstdlib>
#include <functional>
#include <set>

#include "base/ascii.h"
#include "base/error.h"
#include "base/processors.h"

namespace hypenet {
namespace {

torch::Device cuda_device(std::string_view text, int64_t index) {
  HYPENET_CHECK(
      torch::cuda::is_available(), "--device ", text,
      ": expected a CUDA build on a machine with an NVIDIA GPU, found none; use --device cpu");
  const auto count = static_cast<int64_t>(torch::cuda::device_count());
  HYPENET_CHECK(index < count, "--device ", text, ": expected cuda:0 to cuda:", count - 1,
                ", found ", text);
  return {torch::kCUDA, static_cast<torch::DeviceIndex>(index)};
}

}  // namespace

torch::Device parse_device(std::string_view text) {
  if (text == "cpu") return torch::kCPU;
  if (text == "cuda") return cuda_device(text, 0);
  constexpr std::string_view kPrefix = "cuda:";
  int16_t index = -1;
  if (text.starts_with(kPrefix)) {
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data() + kPrefix.size(), end, index);
    if (error != std::errc() || stop != end) index = -1;
  }
  HYPENET_CHECK(index >= 0, "--device: expected cpu, cuda or cuda:N, found \"", text, "\"");
  return cuda_device(text, index);
}

torch::ScalarType parse_type(std::string_view text) {
  using Names = std::set<std::string, std::less<>>;
  std::string name = ascii_lower_case(text);
  if (name.starts_with("torch.")) name.erase(0, 6);
  if (Names{"float32", "fp32", "f32", "float", "single"}.contains(name)) return torch::kFloat32;
  if (Names{"bfloat16", "bf16"}.contains(name)) return torch::kBFloat16;
  if (Names{"float64", "fp64", "f64", "double"}.contains(name)) return torch::kFloat64;
  const bool is_half = Names{"float16", "fp16", "f16", "half"}.contains(name);
  throw Error(concat("--dtype: expected float32, bfloat16 or float64, found \"", text, "\"",
                     is_half ? "; nothing is computed in float16, and bfloat16 has its size" : ""));
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
