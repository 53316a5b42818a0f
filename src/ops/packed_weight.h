// A weight in few bits, in the form that products on a CPU read (docs/kernels.md, "Packed
// weights"): no more bytes than the file has, but for what fills up the last rows.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include <memory>
#include <string>
#include <string_view>

#include "kernels/packed_linear.h"

namespace hypenet {

using torch::Tensor;

/// How rows meet packed weights: rounded to integers of eight bits, a scale for 32 columns, or as
/// they are (float32, several times slower).
enum class Activations { kInt8, kFloat };

struct PackedWeight {
  kernels::PackedMatrix matrix;  // points into memory
  Tensor memory;                 // uint8
  std::string stored;            // what it was made of: "Q4_K", "int8"
  Activations activations = Activations::kInt8;

  int64_t rows() const { return matrix.rows; }
  int64_t columns() const { return matrix.columns; }
};

using PackedWeightPointer = std::shared_ptr<const PackedWeight>;

/// Rows of ggml's blocks as a file has them.
struct StoredBlocks {
  std::string stored;       // the blocks' type: "Q4_K"
  Tensor rows;              // uint8 [N, bytes of a row] on the CPU
  int64_t columns = 0;      // numbers of a row
  int64_t paired_rows = 0;  // rows of a head of which 2i and 2i + 1 are its i and half of these + i
};

/// Rows of integers: W = (codes - zeros) * scales.
struct StoredCodes {
  std::string stored;    // what it is called: "int4"
  int bits = 8;          // 4 or 8
  Tensor codes;          // uint8 [N, K], below 2^bits
  Tensor scales, zeros;  // float32 and uint8 [N, runs of `run` columns]
  int64_t run = 0;       // columns of a scale: a multiple of 32, or all of them
};

/// Whether blocks of this type are packed; others are expanded.
bool is_packed_type(std::string_view stored);

/// The weight [N, K] in packed form. Time and memory are those of a copy.
PackedWeightPointer pack_weight(const StoredBlocks& from, Activations activations);
PackedWeightPointer pack_weight(const StoredCodes& from, Activations activations);

/// Rows `ids` (int32 or int64 [n], which are checked) as float32 [n, K].
Tensor expand_rows(const PackedWeight& weight, const Tensor& ids);

/// All of it as float32 [N, K].
Tensor expand(const PackedWeight& weight);

}  // namespace hypenet
