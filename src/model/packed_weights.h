// Matrices that a folder has in few bits, for products that read them so.
#pragma once

#include <string>

#include "ops/packed_memory.h"
#include "store/checkpoint.h"

namespace hypenet {

/// Whether the tensor `name` is stored in a form that products on a CPU read: ggml's blocks Q4_0 to
/// Q8_0 and Q4_K to Q6_K, int8 and int4 with a scale for a row or for a multiple of 32 columns.
bool is_packable(const Checkpoint& checkpoint, const std::string& name);

/// The tensor in that form, in the published order of rows; null where it is not is_packable or has
/// a zero that no code has. It lies in `memory`. Throws Error as
/// Checkpoint::tensor does, and unless it has this shape.
PackedWeightPointer packed_weight(const Checkpoint& checkpoint, const std::string& name,
                                  const std::vector<int64_t>& shape, Activations activations,
                                  PackedMemory& memory);

/// A matrix in that form; null where it is of another.
PackedWeightPointer packed_weight(const QuantisedMatrix& matrix, Activations activations,
                                  PackedMemory& memory);

}  // namespace hypenet
