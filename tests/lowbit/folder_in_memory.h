// A quantised folder in memory, which a test changes before it is read.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <utility>

#include "lowbit/compressed_tensors.h"
#include "lowbit/quantised_folder.h"
#include "lowbit/rounding.h"
#include "tests/support/expect_error.h"
#include "tests/support/quantised_layouts.h"

namespace hypenet::testing_support {

inline const std::string kModule = "model.layers.1.mlp.up_proj";
inline const std::string kName = kModule + ".weight";

/// A folder in memory: what a test changes before it is read.
struct FolderInMemory {
  Json quantisation = {};
  std::map<std::string, Tensor> tensors = {};

  Tensor& operator[](const std::string& ending) { return tensors[kModule + "." + ending]; }
  void erase(const std::string& ending) { tensors.erase(kModule + "." + ending); }

  QuantisedFolder open() const {
    QuantisedFolder::Types types;
    for (const auto& [name, tensor] : tensors) types[name] = tensor.scalar_type();
    const Json config =
        quantisation.is_null() ? Json::object() : Json{{"quantization_config", quantisation}};
    return {config, "out/config.json", "out", types};
  }
  QuantisedMatrix matrix() const {
    return open().matrix(kName, [&](const std::string& name) { return tensors.at(name); });
  }
};

inline FolderInMemory folder_of(Json quantisation, const ModuleTensors& module) {
  FolderInMemory folder{.quantisation = std::move(quantisation)};
  for (const auto& [ending, tensor] : module) folder[ending] = tensor;
  return folder;
}

inline QuantisedMatrix rounded(CodeType type, bool has_zeros = false, int64_t group = 16) {
  torch::manual_seed(7);
  return round_to_nearest(
      torch::randn({16, 64}),
      {.type = type, .group = group, .has_zeros = has_zeros, .scale_type = torch::kFloat16});
}

inline Json gptq_keys() { return {{"quant_method", "gptq"}, {"bits", 4}, {"group_size", 16}}; }
inline Json awq_keys() { return {{"quant_method", "awq"}, {"bits", 4}, {"group_size", 16}}; }
inline Json fp8_keys() { return {{"quant_method", "fp8"}, {"weight_block_size", {8, 32}}}; }

inline FolderInMemory gptq_folder() {
  return folder_of(gptq_keys(), as_gptq(rounded(CodeType::kInt4, true), 1));
}
inline FolderInMemory awq_folder() {
  return folder_of(awq_keys(), as_awq(rounded(CodeType::kInt4, true)));
}
inline FolderInMemory fp8_folder() {
  const QuantisedMatrix matrix = round_to_nearest(
      torch::randn({20, 64}), {.type = CodeType::kFloat8, .group = 32, .scale_rows = 8});
  return folder_of(fp8_keys(), as_float8_blocks(matrix));
}
inline FolderInMemory pack_folder(bool has_zeros = true) {
  const QuantisedMatrix matrix = rounded(CodeType::kInt4, has_zeros);
  return folder_of(compressed_config(compressed_scheme(matrix), {}), pack_compressed(matrix));
}
inline FolderInMemory int_folder() {
  const QuantisedMatrix matrix = rounded(CodeType::kInt8, false, 0);
  return folder_of(compressed_config(compressed_scheme(matrix), {}), pack_compressed(matrix));
}

/// The weights of the only group of a compressed-tensors config.
inline Json& weights_of(FolderInMemory& folder) {
  return folder.quantisation["config_groups"]["group_0"]["weights"];
}

inline void expect_refused(FolderInMemory folder,
                           const std::function<void(FolderInMemory&)>& change,
                           const std::string& text) {
  change(folder);
  EXPECT_ERROR(folder.matrix(), text);
}

}  // namespace hypenet::testing_support
