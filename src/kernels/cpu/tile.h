// The small matrix product that the attention kernels are made of, in registers; meant to be
// inlined into functions marked HYPENET_VECTORIZED.
#pragma once

#include <cstdint>

#include "kernels/cpu/lanes.h"

namespace hypenet::kernels {

constexpr int64_t kLanes = 16;    // floats a piece: one AVX-512 register, or several narrower ones
constexpr int64_t kTileRows = 4;  // rows of a product come in multiples of this
constexpr int64_t kTallTileRows = 8;  // what AVX-512's 32 registers hold

/// A piece in memory at any float's address.
typedef float Piece __attribute__((vector_size(kLanes * sizeof(float)), aligned(4), may_alias));

/// A matrix to be read element by element: (i, j) is at data[i * row + j * column].
struct Strided {
  const float* data;
  int64_t row, column;
};

template <int kRows, int kPieces>
HYPENET_INLINE void multiply_tile(int64_t inner, Strided a, const float* b, int64_t b_row, float* c,
                                  int64_t c_row, bool add) {
  Piece sums[kRows][kPieces] = {};
  if (add) {
    for (int r = 0; r < kRows; ++r) {
      for (int v = 0; v < kPieces; ++v) {
        sums[r][v] = *reinterpret_cast<const Piece*>(c + r * c_row + v * kLanes);
      }
    }
  }
  for (int64_t k = 0; k < inner; ++k) {
    const float* const column = a.data + k * a.column;
#pragma GCC unroll 8
    for (int v = 0; v < kPieces; ++v) {
      const Piece right = *reinterpret_cast<const Piece*>(b + k * b_row + v * kLanes);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) sums[r][v] += column[r * a.row] * right;
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kPieces; ++v) {
      *reinterpret_cast<Piece*>(c + r * c_row + v * kLanes) = sums[r][v];
    }
  }
}

template <int kRows>
HYPENET_INLINE void multiply_rows(int64_t rows, int64_t columns, int64_t inner, Strided a,
                                  const float* b, int64_t b_row, float* c, int64_t c_row,
                                  bool add) {
  for (int64_t i = 0; i < rows; i += kRows) {
    const Strided left{a.data + i * a.row, a.row, a.column};
    float* const out = c + i * c_row;
    int64_t j = 0;
    for (; j + 2 * kLanes <= columns; j += 2 * kLanes) {
      multiply_tile<kRows, 2>(inner, left, b + j, b_row, out + j, c_row, add);
    }
    if (j < columns) multiply_tile<kRows, 1>(inner, left, b + j, b_row, out + j, c_row, add);
  }
}

/// C = A B, or C += A B: A [rows, inner], B [inner, columns], C [rows, columns], each row of B and
/// C contiguous. rows is a multiple of kTileRows, columns of kLanes.
HYPENET_INLINE void multiply(int64_t rows, int64_t columns, int64_t inner, Strided a,
                             const float* b, int64_t b_row, float* c, int64_t c_row, bool add) {
  // A sum's order is the same in either.
  if (rows % kTallTileRows == 0 && lanes() == kLanes) {
    multiply_rows<kTallTileRows>(rows, columns, inner, a, b, b_row, c, c_row, add);
    return;
  }
  multiply_rows<kTileRows>(rows, columns, inner, a, b, b_row, c, c_row, add);
}

HYPENET_INLINE int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

/// to [rows rounded up to `padded`, columns] = from [rows, columns] * factor; zeros below.
HYPENET_INLINE void pack_rows(const float* from, int64_t from_row, int64_t rows, int64_t padded,
                              int64_t columns, float factor, float* to) {
  for (int64_t i = 0; i < rows; ++i) {
#pragma omp simd
    for (int64_t j = 0; j < columns; ++j) to[i * columns + j] = from[i * from_row + j] * factor;
  }
  for (int64_t x = rows * columns; x < padded * columns; ++x) to[x] = 0;
}

/// to [columns, padded] = the transpose of from [rows, columns]; zeros on the right.
HYPENET_INLINE void pack_transposed(const float* from, int64_t from_row, int64_t rows,
                                    int64_t padded, int64_t columns, float* to) {
  for (int64_t j = 0; j < columns; ++j) {
    float* const line = to + j * padded;
    for (int64_t i = 0; i < rows; ++i) line[i] = from[i * from_row + j];
    for (int64_t i = rows; i < padded; ++i) line[i] = 0;
  }
}

}  // namespace hypenet::kernels
