// Memory of a model's packed weights: side by side, as most of them are no large page long.
#pragma once

#include <cstddef>
#include <memory>

#include "ops/packed_weight.h"

namespace hypenet {

class PackedMemory {
 public:
  /// uint8 [bytes] at a multiple of 64, in large pages where the system has them. What one piece of
  /// memory holds is given back together, when the last of its tensors goes.
  Tensor take(int64_t bytes);

 private:
  std::shared_ptr<std::byte> piece_;
  int64_t size_ = 0, used_ = 0;  // bytes of the piece
};

/// The same as ops/packed_weight.h has, in this memory.
PackedWeightPointer pack_weight(const StoredBlocks& from, Activations activations,
                                PackedMemory& memory);
PackedWeightPointer pack_weight(const StoredCodes& from, Activations activations,
                                PackedMemory& memory);

}  // namespace hypenet
