// Tensors of GGUF files: plain ones as they lie there, blocks expanded.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include <memory>
#include <optional>

#include "gguf/gguf_model.h"

namespace hypenet {

using torch::Tensor;

/// What gguf_tensor returns without a type: float32 for blocks.
torch::ScalarType type_of(BlockType type);

/// The tensor in the published order of rows. Without a type F32, F16 and BF16 are views of the
/// file where they lie as published, which keep the model open, and blocks become float32.
Tensor gguf_tensor(const std::shared_ptr<const GgufModel>& model, const PublishedTensor& tensor,
                   std::optional<torch::ScalarType> type);

/// The bytes that the tensor has in the file, uint8 [rows, bytes of a row]; the order of rows is
/// the file's.
Tensor gguf_blocks(const std::shared_ptr<const GgufModel>& model, const PublishedTensor& tensor);

}  // namespace hypenet
