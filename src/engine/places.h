// Words for where and in which type to compute, as people write them.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include <optional>
#include <string_view>

namespace hypenet {

/// "cpu", "cuda" or "cuda:N". Throws Error, naming the setting `name` ("--device"), for another
/// word, and for a GPU that this build or machine does not have.
torch::Device device_of(std::string_view text, std::string_view name);

/// Any name of float32, bfloat16 or float64 ("bf16", "double", "torch.float32"). Throws Error,
/// naming the setting `name` ("--dtype") and the choices.
torch::ScalarType type_of(std::string_view text, std::string_view name);

/// The same, and nullopt for "auto".
std::optional<torch::ScalarType> type_or_auto(std::string_view text, std::string_view name);

}  // namespace hypenet
