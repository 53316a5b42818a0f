// Token ids on their way into a model.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include <cstdint>
#include <span>
#include <string_view>

namespace hypenet {

/// Ids as an int64 tensor [n] on the device.
torch::Tensor ids_tensor(std::span<const int32_t> ids, torch::Device device);

/// Throws Error naming `place` for an id outside the vocabulary.
void check_ids(std::string_view place, std::span<const int32_t> ids, int64_t vocab_size);

}  // namespace hypenet
