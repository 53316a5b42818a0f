// A tile of sums in registers; a word of A meets 16 of B in one instruction.
#include "kernels/cpu/multiply_pairs.h"

#include "kernels/cpu/tile.h"

#ifdef HYPENET_BFLOAT16_DOTS
#include <immintrin.h>

namespace hypenet::kernels {
namespace {

template <int R, int C>
HYPENET_BFLOAT16_DOTS HYPENET_INLINE void pair_tile(int64_t inner, const uint32_t* a, int64_t a_row,
                                                    const uint32_t* b, int64_t columns, float* c,
                                                    bool add) {
  __m512 sums[R][C] = {};
  for (int r = 0; add && r < R; ++r) {
    for (int v = 0; v < C; ++v) sums[r][v] = _mm512_loadu_ps(c + r * columns + v * kLanes);
  }
  for (int64_t k = 0; k < inner; ++k) {
    __m512i right[C];
#pragma GCC unroll 4
    for (int v = 0; v < C; ++v) right[v] = _mm512_loadu_si512(b + k * columns + v * kLanes);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const __m512i left = _mm512_set1_epi32(static_cast<int>(a[r * a_row + k]));
#pragma GCC unroll 4
      for (int v = 0; v < C; ++v) {
        sums[r][v] = _mm512_dpbf16_ps(sums[r][v], reinterpret_cast<__m512bh>(left),
                                      reinterpret_cast<__m512bh>(right[v]));
      }
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int v = 0; v < C; ++v) _mm512_storeu_ps(c + r * columns + v * kLanes, sums[r][v]);
  }
}

template <int R>
HYPENET_BFLOAT16_DOTS HYPENET_INLINE void pair_rows(int64_t columns, int64_t inner,
                                                    const uint32_t* a, int64_t a_row,
                                                    const uint32_t* b, float* c, bool add) {
  int64_t j = 0;
  for (; j + 2 * kLanes <= columns; j += 2 * kLanes) {
    pair_tile<R, 2>(inner, a, a_row, b + j, columns, c + j, add);
  }
  if (j < columns) pair_tile<R, 1>(inner, a, a_row, b + j, columns, c + j, add);
}

}  // namespace

HYPENET_BFLOAT16_DOTS void multiply_pairs(int64_t rows, int64_t columns, int64_t inner,
                                          const uint32_t* a, int64_t a_row, const uint32_t* b,
                                          float* c, bool add) {
  int64_t i = 0;
  for (; i + kTallTileRows <= rows; i += kTallTileRows) {
    pair_rows<kTallTileRows>(columns, inner, a + i * a_row, a_row, b, c + i * columns, add);
  }
  if (i < rows) pair_rows<kTileRows>(columns, inner, a + i * a_row, a_row, b, c + i * columns, add);
}

}  // namespace hypenet::kernels
#endif
