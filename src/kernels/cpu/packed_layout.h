// Where the parts of a packed group lie (kernels/packed_linear.h), for those who write and read it.
#pragma once

#include <type_traits>

#include "kernels/cpu/vectorize.h"
#include "kernels/packed_linear.h"

namespace hypenet::kernels {

constexpr int64_t kStepBytes = 64;      // codes of 16 rows and 4 columns
constexpr int64_t kLargeColumns = 256;  // of a block of Q4_K, Q5_K, Q6_K

/// f of the kind as a constant, std::integral_constant<PackedKind, kind>.
template <class F>
HYPENET_INLINE void with_kind(PackedKind kind, const F& f) {
  switch (kind) {
    case PackedKind::kQ40:
      return f(std::integral_constant<PackedKind, PackedKind::kQ40>());
    case PackedKind::kQ41:
      return f(std::integral_constant<PackedKind, PackedKind::kQ41>());
    case PackedKind::kQ50:
      return f(std::integral_constant<PackedKind, PackedKind::kQ50>());
    case PackedKind::kQ51:
      return f(std::integral_constant<PackedKind, PackedKind::kQ51>());
    case PackedKind::kQ80:
      return f(std::integral_constant<PackedKind, PackedKind::kQ80>());
    case PackedKind::kQ4K:
      return f(std::integral_constant<PackedKind, PackedKind::kQ4K>());
    case PackedKind::kQ5K:
      return f(std::integral_constant<PackedKind, PackedKind::kQ5K>());
    case PackedKind::kQ6K:
      return f(std::integral_constant<PackedKind, PackedKind::kQ6K>());
    case PackedKind::kInt4:
      return f(std::integral_constant<PackedKind, PackedKind::kInt4>());
    case PackedKind::kInt8:
      return f(std::integral_constant<PackedKind, PackedKind::kInt8>());
  }
}

constexpr int bits_of(PackedKind kind) {
  switch (kind) {
    case PackedKind::kQ40:
    case PackedKind::kQ41:
    case PackedKind::kQ4K:
    case PackedKind::kInt4:
      return 4;
    case PackedKind::kQ50:
    case PackedKind::kQ51:
    case PackedKind::kQ5K:
      return 5;
    case PackedKind::kQ6K:
      return 6;
    case PackedKind::kQ80:
    case PackedKind::kInt8:
      return 8;
  }
  return 0;
}

constexpr bool is_integer(PackedKind kind) {
  return kind == PackedKind::kInt4 || kind == PackedKind::kInt8;
}

/// Whether a number is scale * code - or + its block's least.
constexpr bool has_least(PackedKind kind) {
  return kind == PackedKind::kQ41 || kind == PackedKind::kQ51 || kind == PackedKind::kQ4K ||
         kind == PackedKind::kQ5K;
}

/// What ggml subtracts from each code.
constexpr int zero_of(PackedKind kind) {
  return has_least(kind) || is_integer(kind) ? 0 : 1 << (bits_of(kind) - 1);
}

constexpr int64_t code_bytes(PackedKind kind) { return bits_of(kind) * kStepBytes; }  // a block's

/// Columns that a set of scales is for, and its bytes: of 16 rows each, float16 scales (and least
/// numbers); K kinds: float16 d (and dmin), then bytes for each 32 columns (two of Q6_K's): scales
/// (and least numbers); integers: float32 scales, zeros in bytes.
struct ScaleLayout {
  int64_t columns, bytes;
};
constexpr ScaleLayout scale_layout(PackedKind kind, int64_t scale_columns) {
  switch (kind) {
    case PackedKind::kQ40:
    case PackedKind::kQ50:
    case PackedKind::kQ80:
      return {kPackedColumns, 2 * kPackedRows};
    case PackedKind::kQ41:
    case PackedKind::kQ51:
      return {kPackedColumns, 4 * kPackedRows};
    case PackedKind::kQ4K:
    case PackedKind::kQ5K:
      return {kLargeColumns, 20 * kPackedRows};
    case PackedKind::kQ6K:
      return {kLargeColumns, 18 * kPackedRows};
    case PackedKind::kInt4:
    case PackedKind::kInt8:
      return {scale_columns, 5 * kPackedRows};
  }
  return {1, 0};
}

/// A group's scales lie behind its codes.
HYPENET_INLINE int64_t scales_at(const PackedMatrix& matrix) {
  return packed_blocks(matrix.columns) * code_bytes(matrix.kind);
}

}  // namespace hypenet::kernels
