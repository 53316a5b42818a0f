// Devices and types by name.
#include "engine/places.h"

#include <torch/cuda.h>

#include <charconv>
#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>

#include "base/ascii.h"
#include "base/error.h"

namespace hypenet {
namespace {

torch::Device cuda_device(std::string_view text, std::string_view name, int64_t index) {
  HYPENET_CHECK(torch::cuda::is_available(), name, " ", text,
                ": expected a CUDA build on a machine with an NVIDIA GPU, found none; use ", name,
                " cpu");
  const auto count = static_cast<int64_t>(torch::cuda::device_count());
  HYPENET_CHECK(index < count, name, " ", text, ": expected cuda:0 to cuda:", count - 1, ", found ",
                text);
  return {torch::kCUDA, static_cast<torch::DeviceIndex>(index)};
}

using Names = std::set<std::string, std::less<>>;

torch::ScalarType type_among(std::string_view choices, std::string_view text,
                             std::string_view name) {
  std::string type = ascii_lower_case(text);
  if (type.starts_with("torch.")) type.erase(0, 6);
  if (Names{"float32", "fp32", "f32", "float", "single"}.contains(type)) return torch::kFloat32;
  if (Names{"bfloat16", "bf16"}.contains(type)) return torch::kBFloat16;
  if (Names{"float64", "fp64", "f64", "double"}.contains(type)) return torch::kFloat64;
  const bool is_half = Names{"float16", "fp16", "f16", "half"}.contains(type);
  throw Error(concat(name, ": expected ", choices, ", found \"", text, "\"",
                     is_half ? "; nothing is computed in float16, and bfloat16 has its size" : ""));
}

}  // namespace

torch::Device device_of(std::string_view text, std::string_view name) {
  if (text == "cpu") return torch::kCPU;
  if (text == "cuda") return cuda_device(text, name, 0);
  constexpr std::string_view kPrefix = "cuda:";
  int16_t index = -1;
  if (text.starts_with(kPrefix)) {
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data() + kPrefix.size(), end, index);
    if (error != std::errc() || stop != end) index = -1;
  }
  HYPENET_CHECK(index >= 0, name, ": expected cpu, cuda or cuda:N, found \"", text, "\"");
  return cuda_device(text, name, index);
}

torch::ScalarType type_of(std::string_view text, std::string_view name) {
  return type_among("float32, bfloat16 or float64", text, name);
}

std::optional<torch::ScalarType> type_or_auto(std::string_view text, std::string_view name) {
  if (text == "auto") return std::nullopt;
  return type_among("auto, float32, bfloat16 or float64", text, name);
}

}  // namespace hypenet
