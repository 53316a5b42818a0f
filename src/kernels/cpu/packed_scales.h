// The scales of a group's rows for a block of 32 columns, in registers of L rows.
#pragma once

#include "kernels/cpu/float16.h"
#include "kernels/cpu/packed_layout.h"
#include "kernels/cpu/packed_products.h"

namespace hypenet::kernels {

/// L bytes as words.
template <int L, class Byte>
HYPENET_INLINE Integers<L> wide_bytes(const uint8_t* from) {
  typedef Byte Bytes __attribute__((vector_size(L)));
  Bytes bytes;
  load(from, bytes);
  return __builtin_convertvector(bytes, Integers<L>);
}

template <int L>
HYPENET_INLINE Vector<L> to_floats(const Integers<L>& integers) {
  return __builtin_convertvector(integers, Vector<L>);
}

/// For block after block: a number is scale * (code - zero) + least. Of Q6_K the second 16 columns
/// have another scale.
template <int L, PackedKind kind>
struct Scales {
  HYPENET_INLINE Scales(const PackedMatrix& m, const uint8_t* from, int64_t row)
      : zeros(Integers<L>{} + zero_of(kind)),
        next(from),
        first_row(row),
        scale_columns(m.scale_columns) {}

  /// Those of block b, each block in its turn.
  HYPENET_INLINE void read(int64_t b) {
    constexpr int64_t kBlocks = scale_layout(kind, 0).columns / kPackedColumns;
    if constexpr (is_integer(kind)) {
      if (b == left) read_integers();
    } else if constexpr (kBlocks == 1) {
      scale = wide_halves<L>(next + 2 * first_row);
      if constexpr (has_least(kind)) {
        least = wide_halves<L>(next + 2 * kPackedRows + 2 * first_row);
      }
      next += scale_layout(kind, 0).bytes;
    } else {
      if (b % kBlocks == 0) read_large();
      read_bytes(b % kBlocks);
    }
  }

  HYPENET_INLINE void read_integers() {
    load(next + 4 * first_row, scale);
    zeros = wide_bytes<L, uint8_t>(next + 4 * kPackedRows + first_row);
    next += scale_layout(kind, 0).bytes, left += scale_columns / kPackedColumns;
  }

  HYPENET_INLINE void read_large() {
    d = wide_halves<L>(next + 2 * first_row);
    if constexpr (has_least(kind)) dmin = -wide_halves<L>(next + 2 * kPackedRows + 2 * first_row);
    bytes = next + (has_least(kind) ? 4 : 2) * kPackedRows + first_row;
    next += scale_layout(kind, 0).bytes;
  }

  HYPENET_INLINE void read_bytes(int64_t b) {
    if constexpr (kind == PackedKind::kQ6K) {
      const uint8_t* const two = bytes + b * 2 * kPackedRows;
      scale = d * to_floats<L>(wide_bytes<L, int8_t>(two));
      second = d * to_floats<L>(wide_bytes<L, int8_t>(two + kPackedRows));
    } else {
      const uint8_t* const one = bytes + b * kPackedRows;
      scale = d * to_floats<L>(wide_bytes<L, uint8_t>(one));
      least = dmin * to_floats<L>(wide_bytes<L, uint8_t>(one + 8 * kPackedRows));
    }
  }

  Vector<L> scale = {}, second = {}, least = {}, d = {}, dmin = {};
  Integers<L> zeros;
  const uint8_t *next, *bytes = nullptr;
  int64_t first_row, scale_columns, left = 0;
};

}  // namespace hypenet::kernels
