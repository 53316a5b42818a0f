// Float32 rows. A dot product is a register of sums side by side along the row, whatever tile it is
// part of, so an output's bits depend on its own row and weights alone. The weights go through
// memory once.
#include "kernels/linear.h"

#include "kernels/cpu/linear_dots.h"
#include "kernels/cpu/linear_outputs.h"

namespace hypenet::kernels {
namespace {

/// 2 L weights as two vectors. A word of two bfloat16 numbers is one by a shift, the other by a
/// mask: that is why packed rows have even places first.
template <int L>
HYPENET_INLINE void load_block(const float* w, Vector<L>& first, Vector<L>& second) {
  load(w, first);
  load(w + L, second);
}
template <int L>
HYPENET_INLINE void load_block(const BFloat16* w, Vector<L>& first, Vector<L>& second) {
  Words<L> words;
  load(w, words);
  first = reinterpret_cast<Vector<L>>(words << 16);
  second = reinterpret_cast<Vector<L>>(words & 0xFFFF0000U);
}

/// sums += a block of R rows times a block of C rows of weights.
template <int L, int R, int C, class W>
HYPENET_INLINE void add_block(const float* x, int64_t x_row, const W* const* w, int64_t at,
                              Vector<L> (*sums)[C]) {
  Vector<L> first[C], second[C];
#pragma GCC unroll 4
  for (int c = 0; c < C; ++c) load_block<L>(w[c] + at, first[c], second[c]);
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
    Vector<L> low, high;
    load(x + r * x_row, low);
    load(x + r * x_row + L, high);
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) sums[r][c] += low * first[c];
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) sums[r][c] += high * second[c];
  }
}

/// The products of R packed rows with C rows of weights, still in lanes. As many weights as are
/// used here are asked for from `next` on.
template <int L, int R, int C, class W>
HYPENET_INLINE void multiply(const float* x, const W* const* w, int64_t size, const W* next,
                             Vector<L> (*sums)[C]) {
  constexpr int64_t kBlock = 2 * L, kLine = 64 / sizeof(W);  // kLine: weights a cache line
  const int64_t x_row = packed_size(size), whole = size / kBlock * kBlock;
  for (int64_t k = 0; k < whole; k += kBlock) {
#pragma GCC unroll 8
    for (int64_t i = 0; i < C * kBlock; i += kLine) __builtin_prefetch(next + C * k + i);
    add_block<L, R, C>(x + k, x_row, w, k, sums);
  }
  if (whole == size) return;
  W padded[C][kBlock] = {};
  const W* rows[C];
  for (int c = 0; c < C; ++c) {
    for (int64_t k = whole; k < size; ++k) padded[c][k - whole] = w[c][k];
    rows[c] = padded[c];
  }
  add_block<L, R, C>(x + whole, x_row, rows, 0, sums);
}

HYPENET_INLINE Quad quad(const Vector<4>& v) { return v; }
HYPENET_INLINE Quad quad(const Vector<8>& v) {
  return __builtin_shufflevector(v, v, 0, 1, 2, 3) + __builtin_shufflevector(v, v, 4, 5, 6, 7);
}
HYPENET_INLINE Quad quad(const Vector<16>& v) {
  return quad(__builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7) +
              __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15));
}

/// The sum of a vector, over halves, then halves of these.
template <int L>
HYPENET_INLINE float sum_of(const Vector<L>& v) {
  const Quad q = quad(v);
  return (q[0] + q[2]) + (q[1] + q[3]);
}

/// The same of four vectors.
template <int L>
HYPENET_INLINE Quad sums_of(const Vector<L>* v) {
  const Quad a = quad(v[0]), b = quad(v[1]), c = quad(v[2]), d = quad(v[3]);
  const Quad ab =
      __builtin_shufflevector(a, b, 0, 1, 4, 5) + __builtin_shufflevector(a, b, 2, 3, 6, 7);
  const Quad cd =
      __builtin_shufflevector(c, d, 0, 1, 4, 5) + __builtin_shufflevector(c, d, 2, 3, 6, 7);
  return __builtin_shufflevector(ab, cd, 0, 2, 4, 6) + __builtin_shufflevector(ab, cd, 1, 3, 5, 7);
}

/// Outputs o .. o + 3, or up to `end`, of R rows from `row`: the tile that keeps the arithmetic
/// units busy.
template <int L, int R, class W>
HYPENET_INLINE void tile(const LinearParams& p, int64_t row, int64_t o, int64_t end) {
  const TileWeights<W> tile(p, o, end);
  Vector<L> sums[R][kTile] = {};
  multiply<L, R, kTile>(packed_row<float>(p, row), tile.rows, p.size, tile.next, sums);
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) tile.put(p, row + r, sums_of<L>(sums[r]));
}

/// Outputs begin .. end - 1 of one row, one after the other: the weights are read in the order they
/// lie in, which memory serves best. Each sum waits for itself, so this is for wide registers.
template <int L, class W>
HYPENET_INLINE void stream(const LinearParams& p, int64_t row, int64_t begin, int64_t end) {
  const W* const bias = static_cast<const W*>(p.bias);
  float* const y = p.y + row * p.y_row;
  for (int64_t o = begin; o < end; ++o) {
    const W* const w = static_cast<const W*>(p.weight) + o * p.size;
    Vector<L> sums[1][1] = {};
    multiply<L, 1, 1>(packed_row<float>(p, row), &w, p.size, w + kAhead / sizeof(W), sums);
    const float product = sum_of<L>(sums[0][0]) + (bias != nullptr ? wide(bias[o]) : 0.0F);
    y[o] = p.adds ? y[o] + product : product;
  }
}

template <int L, int R, class W>
HYPENET_INLINE void tiles(const LinearParams& p, int64_t row, int64_t begin, int64_t end) {
  for (int64_t o = begin; o < end; o += kTile) tile<L, R, W>(p, row, o, end);
}

template <int L, class W>
HYPENET_INLINE void outputs(const LinearParams& p, int64_t begin, int64_t end) {
  constexpr int kRows = L == 16 ? 4 : 2;  // a tile's sums fill half of 32 or 16 registers
  const int64_t panel = panel_of<W>(p.size);
  for (int64_t first = begin; first < end; first += panel) {
    const int64_t last = first + panel < end ? first + panel : end;
    int64_t row = 0;
    for (; row + kRows <= p.rows; row += kRows) tiles<L, kRows, W>(p, row, first, last);
    if (kRows > 3 && p.rows - row == 3) tiles<L, 3, W>(p, row, first, last);
    if (kRows > 2 && p.rows - row == 2) tiles<L, 2, W>(p, row, first, last);
    if (L < 16 && p.rows - row == 1) tiles<L, 1, W>(p, row, first, last);
    if (L == 16 && p.rows - row == 1) stream<L, W>(p, row, first, last);
  }
}

template <int L>
HYPENET_INLINE void outputs(const LinearParams& p, int64_t begin, int64_t end) {
  if (p.weight_type == DType::kBFloat16) return outputs<L, BFloat16>(p, begin, end);
  outputs<L, float>(p, begin, end);
}

HYPENET_16_LANES void linear_16(const LinearParams& p, int64_t begin, int64_t end) {
  outputs<16>(p, begin, end);
}
HYPENET_8_LANES void linear_8(const LinearParams& p, int64_t begin, int64_t end) {
  outputs<8>(p, begin, end);
}

}  // namespace

void linear(const LinearParams& params, int64_t begin, int64_t end) {
#ifdef HYPENET_BFLOAT16_DOTS
  if (params.x_type == DType::kBFloat16) return linear_dots(params, begin, end);
#endif
  if (lanes() == 16) return linear_16(params, begin, end);
  if (lanes() == 8) return linear_8(params, begin, end);
  outputs<4>(params, begin, end);
}

}  // namespace hypenet::kernels
