// A tensor as the bytes that a file holds of it.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include <cstddef>
#include <span>

namespace hypenet {

/// Of a contiguous tensor in host memory, which they do not keep.
inline std::span<const std::byte> bytes_of(const torch::Tensor& tensor) {
  return {static_cast<const std::byte*>(tensor.const_data_ptr()),
          static_cast<size_t>(tensor.nbytes())};
}

}  // namespace hypenet
