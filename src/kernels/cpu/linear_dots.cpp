// A dot product is 16 sums side by side along the row, to which vdpbf16ps adds two products each,
// whatever tile it is part of: an output's bits depend on its own row and weights alone.
#include "kernels/cpu/linear_dots.h"

#include "kernels/cpu/linear_outputs.h"

#ifdef HYPENET_BFLOAT16_DOTS
#include <immintrin.h>

namespace hypenet::kernels {
namespace {

constexpr int64_t kBlock = 32;            // numbers of a register
constexpr int64_t kRows = 6;              // of a tile: its sums and factors fill 29 of 32 registers
constexpr int64_t kRowBytes = 16 * 1024;  // of rows: stay in L1 while a panel passes by

/// sums += a block of R rows times a block of C rows of weights.
template <int R, int C>
HYPENET_BFLOAT16_DOTS HYPENET_INLINE void add_dots(const BFloat16* x, int64_t x_row,
                                                   const __m512i* weights, __m512 (*sums)[C]) {
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) {
    const __m512bh left = reinterpret_cast<__m512bh>(_mm512_loadu_si512(x + r * x_row));
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) {
      sums[r][c] = _mm512_dpbf16_ps(sums[r][c], left, reinterpret_cast<__m512bh>(weights[c]));
    }
  }
}

/// The products of R packed rows with C rows of weights, still in lanes. As many weights as are
/// used here are asked for from `next` on.
template <int R, int C>
HYPENET_BFLOAT16_DOTS HYPENET_INLINE void multiply_dots(const BFloat16* x, const BFloat16* const* w,
                                                        int64_t size, const BFloat16* next,
                                                        __m512 (*sums)[C]) {
  const int64_t x_row = packed_size(size), whole = size / kBlock * kBlock;
  __m512i weights[C];
  for (int64_t k = 0; k < whole; k += kBlock) {
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) {
      __builtin_prefetch(next + C * k + c * kBlock);
      weights[c] = _mm512_loadu_si512(w[c] + k);
    }
    add_dots<R, C>(x + k, x_row, weights, sums);
  }
  if (whole == size) return;
  const __mmask32 rest = (1U << (size - whole)) - 1;
#pragma GCC unroll 4
  for (int c = 0; c < C; ++c) weights[c] = _mm512_maskz_loadu_epi16(rest, w[c] + whole);
  add_dots<R, C>(x + whole, x_row, weights, sums);
}

/// Of each four neighbours of a, then of b: the first and the third, the second and the fourth.
HYPENET_BFLOAT16_DOTS HYPENET_INLINE Vector<16> half_sums(const Vector<16>& a,
                                                          const Vector<16>& b) {
  return __builtin_shufflevector(a, b, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29) +
         __builtin_shufflevector(a, b, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31);
}

/// The sums of four registers: of four neighbours each, then of these over halves.
HYPENET_BFLOAT16_DOTS HYPENET_INLINE Quad sums_of_four(const __m512* v) {
  const Vector<16> a = half_sums(v[0], v[1]), b = half_sums(v[2], v[3]);
  const Vector<16> q =
      __builtin_shufflevector(a, b, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29) +
      __builtin_shufflevector(a, b, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
  const Vector<8> halves = __builtin_shufflevector(q, q, 0, 1, 2, 3, 4, 5, 6, 7) +
                           __builtin_shufflevector(q, q, 8, 9, 10, 11, 12, 13, 14, 15);
  return __builtin_shufflevector(halves, halves, 0, 1, 2, 3) +
         __builtin_shufflevector(halves, halves, 4, 5, 6, 7);
}

/// Outputs o .. o + 3, or up to `end`, of R rows from `row`.
template <int R>
HYPENET_BFLOAT16_DOTS HYPENET_INLINE void tile(const LinearParams& p, int64_t row, int64_t o,
                                               int64_t end) {
  const TileWeights<BFloat16> tile(p, o, end);
  __m512 sums[R][kTile] = {};
  multiply_dots<R, kTile>(packed_row<BFloat16>(p, row), tile.rows, p.size, tile.next, sums);
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) tile.put(p, row + r, sums_of_four(sums[r]));
}

/// The same of one row; the weights are read in the order they lie in, which memory serves best.
HYPENET_BFLOAT16_DOTS HYPENET_INLINE void stream(const LinearParams& p, int64_t o, int64_t end) {
  const TileWeights<BFloat16> tile(p, o, end);
  __m512 sums[kTile] = {};
  for (int c = 0; c < tile.count; ++c) {
    const BFloat16* const w = tile.rows[c];
    __m512 one[1][1] = {};
    multiply_dots<1, 1>(packed_row<BFloat16>(p, 0), &w, p.size, w + kAhead / sizeof(BFloat16), one);
    sums[c] = one[0][0];
  }
  tile.put(p, 0, sums_of_four(sums));
}

/// `count` rows, at most those of a tile.
HYPENET_BFLOAT16_DOTS HYPENET_INLINE void tile_of(int64_t count, const LinearParams& p, int64_t row,
                                                  int64_t o, int64_t end) {
  switch (count) {
    case 1:
      return tile<1>(p, row, o, end);
    case 2:
      return tile<2>(p, row, o, end);
    case 3:
      return tile<3>(p, row, o, end);
    case 4:
      return tile<4>(p, row, o, end);
    case 5:
      return tile<5>(p, row, o, end);
    default:
      return tile<kRows>(p, row, o, end);
  }
}

/// Rows that stay in L1: some tiles'.
int64_t rows_of_block(int64_t size) {
  const int64_t tiles = kRowBytes / (packed_size(size) * int64_t{sizeof(BFloat16)} * kRows);
  return (tiles < 1 ? 1 : tiles) * kRows;
}

}  // namespace

HYPENET_BFLOAT16_DOTS void linear_dots(const LinearParams& p, int64_t begin, int64_t end) {
  if (p.rows == 1) {
    for (int64_t o = begin; o < end; o += kTile) stream(p, o, end);
    return;
  }
  const int64_t panel = panel_of<BFloat16>(p.size), block = rows_of_block(p.size);
  for (int64_t first = begin; first < end; first += panel) {
    const int64_t last = first + panel < end ? first + panel : end;
    for (int64_t top = 0; top < p.rows; top += block) {
      const int64_t bottom = top + block < p.rows ? top + block : p.rows;
      for (int64_t o = first; o < last; o += kTile) {
        for (int64_t row = top; row < bottom; row += kRows) tile_of(bottom - row, p, row, o, last);
      }
    }
  }
}

}  // namespace hypenet::kernels
#endif
