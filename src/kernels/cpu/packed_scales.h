// The scales of a group's rows for a block of 32 columns, in registers of L rows.
#pragma once

#include <type_traits>

#include "kernels/cpu/float16.h"
#include "kernels/cpu/packed_layout.h"
#include "kernels/cpu/packed_products.h"

namespace hypenet::kernels {

/// L bytes as numbers; compilers would take them one by one.
template <int L, class Byte, class Number>
HYPENET_INLINE void read_bytes(const uint8_t* from, Number& numbers) {
  struct Bytes {
    Byte bytes[L];
  };
  const auto& bytes = *reinterpret_cast<const Bytes*>(from);
  Integers<L> integers = {};
#ifdef HYPENET_INSTRUCTIONS
  if constexpr (L >= 8 && std::is_signed_v<Byte>) {
    asm("vpmovsxbd %1, %0" : "=v"(integers) : "m"(bytes));
  } else if constexpr (L >= 8) {
    asm("vpmovzxbd %1, %0" : "=v"(integers) : "m"(bytes));
  }
#endif
  if constexpr (L < 8) {
    for (int i = 0; i < L; ++i) integers[i] = bytes.bytes[i];
  }
  numbers = __builtin_convertvector(integers, Number);
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
      wide_halves<L>(next + 2 * first_row, scale);
      if constexpr (has_least(kind)) {
        wide_halves<L>(next + 2 * kPackedRows + 2 * first_row, least);
      }
      next += scale_layout(kind, 0).bytes;
    } else {
      if (b % kBlocks == 0) read_large();
      read_small(b % kBlocks);
    }
  }

  HYPENET_INLINE void read_integers() {
    load(next + 4 * first_row, scale);
    read_bytes<L, uint8_t>(next + 4 * kPackedRows + first_row, zeros);
    next += scale_layout(kind, 0).bytes, left += scale_columns / kPackedColumns;
  }

  HYPENET_INLINE void read_large() {
    wide_halves<L>(next + 2 * first_row, d);
    if constexpr (has_least(kind)) {
      wide_halves<L>(next + 2 * kPackedRows + 2 * first_row, dmin);
      dmin = -dmin;
    }
    bytes = next + (has_least(kind) ? 4 : 2) * kPackedRows + first_row;
    next += scale_layout(kind, 0).bytes;
  }

  HYPENET_INLINE void read_small(int64_t b) {
    if constexpr (kind == PackedKind::kQ6K) {
      const uint8_t* const two = bytes + b * 2 * kPackedRows;
      read_bytes<L, int8_t>(two, scale), scale *= d;
      read_bytes<L, int8_t>(two + kPackedRows, second), second *= d;
    } else {
      const uint8_t* const one = bytes + b * kPackedRows;
      read_bytes<L, uint8_t>(one, scale), scale *= d;
      read_bytes<L, uint8_t>(one + 8 * kPackedRows, least), least *= dmin;
    }
  }

  Vector<L> scale = {}, second = {}, least = {}, d = {}, dmin = {};
  Integers<L> zeros;
  const uint8_t *next, *bytes = nullptr;
  int64_t first_row, scale_columns, left = 0;
};

}  // namespace hypenet::kernels
