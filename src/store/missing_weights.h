// What a folder holds in place of weights that are read here, and what to do about it.
#pragma once

#include <filesystem>
#include <string>

namespace hypenet {

/// "pytorch_model.bin, PyTorch's form: save it again ..."; empty when nothing there looks like
/// weights.
std::string describe_other_weights(const std::filesystem::path& folder);

}  // namespace hypenet
