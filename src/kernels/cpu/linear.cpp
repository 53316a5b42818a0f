// A dot product is a register of sums side by side along the row, whatever tile it is part of, so
// an output's bits depend on its own row and weights alone. The weights go through memory once.
#include "kernels/linear.h"

#include <cmath>

#include "kernels/cpu/bfloat16.h"
#include "kernels/cpu/exponential.h"
#include "kernels/cpu/lanes.h"
#include "kernels/cpu/vectorize.h"

namespace hypenet::kernels {
namespace {

constexpr int kColumns = 4;                    // outputs of a tile
constexpr int64_t kPanelBytes = 384 * 1024;    // of weights: stay in L2 while all rows meet them
constexpr int64_t kPrefetchBeyondTile = 4096;  // bytes after the next tile's first

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

/// sums += a block of kRows rows times a block of four rows of weights.
template <int L, int kRows, class W>
HYPENET_INLINE void add_block(const float* x, int64_t x_row, const W* const* w, int64_t at,
                              Vector<L> (*sums)[kColumns]) {
  Vector<L> first[kColumns], second[kColumns];
#pragma GCC unroll 4
  for (int c = 0; c < kColumns; ++c) load_block<L>(w[c] + at, first[c], second[c]);
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) {
    Vector<L> low, high;
    load(x + r * x_row, low);
    load(x + r * x_row + L, high);
#pragma GCC unroll 4
    for (int c = 0; c < kColumns; ++c) sums[r][c] += low * first[c];
#pragma GCC unroll 4
    for (int c = 0; c < kColumns; ++c) sums[r][c] += high * second[c];
  }
}

HYPENET_INLINE Quad quad(const Vector<4>& v) { return v; }
HYPENET_INLINE Quad quad(const Vector<8>& v) {
  return __builtin_shufflevector(v, v, 0, 1, 2, 3) + __builtin_shufflevector(v, v, 4, 5, 6, 7);
}
HYPENET_INLINE Quad quad(const Vector<16>& v) {
  return quad(__builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7) +
              __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15));
}

/// The sum of each of four vectors: over halves, then halves of these.
template <int L>
HYPENET_INLINE Quad sums_of(const Vector<L>* v) {
  const Quad a = quad(v[0]), b = quad(v[1]), c = quad(v[2]), d = quad(v[3]);
  const Quad ab =
      __builtin_shufflevector(a, b, 0, 1, 4, 5) + __builtin_shufflevector(a, b, 2, 3, 6, 7);
  const Quad cd =
      __builtin_shufflevector(c, d, 0, 1, 4, 5) + __builtin_shufflevector(c, d, 2, 3, 6, 7);
  return __builtin_shufflevector(ab, cd, 0, 2, 4, 6) + __builtin_shufflevector(ab, cd, 1, 3, 5, 7);
}

/// The products of kRows packed rows with four rows of weights. `next` is where the weights that
/// are wanted after these lie: as many of them are asked for as are used here.
template <int L, int kRows, class W>
HYPENET_INLINE void multiply(const float* x, const W* const* w, int64_t size, const W* next,
                             Quad* products) {
  constexpr int64_t kBlock = 2 * L, kLine = 64 / sizeof(W);  // kLine: weights a cache line
  const int64_t x_row = packed_size(size), whole = size / kBlock * kBlock;
  Vector<L> sums[kRows][kColumns] = {};
  for (int64_t k = 0; k < whole; k += kBlock) {
#pragma GCC unroll 8
    for (int64_t i = 0; i < kColumns * kBlock; i += kLine)
      __builtin_prefetch(next + kColumns * k + i);
    add_block<L, kRows>(x + k, x_row, w, k, sums);
  }
  if (whole < size) {
    W padded[kColumns][kBlock] = {};
    const W* rows[kColumns];
    for (int c = 0; c < kColumns; ++c) {
      for (int64_t k = whole; k < size; ++k) padded[c][k - whole] = w[c][k];
      rows[c] = padded[c];
    }
    add_block<L, kRows>(x + whole, x_row, rows, 0, sums);
  }
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) products[r] = sums_of<L>(sums[r]);
}

/// Outputs o .. o + 3, or up to `end`, of kRows rows from `row`.
template <int L, int kRows, class W>
HYPENET_INLINE void tile(const LinearParams& p, int64_t row, int64_t o, int64_t end) {
  const W* const weight = static_cast<const W*>(p.weight);
  const W* const bias = static_cast<const W*>(p.bias);
  const W* w[kColumns];
  for (int c = 0; c < kColumns; ++c) w[c] = weight + (o + c < end ? o + c : end - 1) * p.size;
  Quad products[kRows];
  const W* const next = w[0] + kColumns * p.size + kPrefetchBeyondTile / sizeof(W);
  multiply<L, kRows>(p.x + row * packed_size(p.size), w, p.size, next, products);
  Quad biases = {};
  const int count = end - o < kColumns ? static_cast<int>(end - o) : kColumns;
  for (int c = 0; bias != nullptr && c < count; ++c) biases[c] = wide(bias[o + c]);
  for (int r = 0; r < kRows; ++r) {
    float* const y = p.y + (row + r) * p.y_row + o;
    const Quad sums = products[r] + biases;
    if (count == kColumns) {
      Quad four = {};
      if (p.adds) load(y, four);
      store(four + sums, y);
    } else {
      for (int c = 0; c < count; ++c) y[c] = p.adds ? y[c] + sums[c] : sums[c];
    }
  }
}

/// Outputs begin .. end - 1 of kRows rows from `row`.
template <int L, int kRows, class W>
HYPENET_INLINE void tiles(const LinearParams& p, int64_t row, int64_t begin, int64_t end) {
  for (int64_t o = begin; o < end; o += kColumns) tile<L, kRows, W>(p, row, o, end);
}

template <int L, class W>
HYPENET_INLINE void outputs(const LinearParams& p, int64_t begin, int64_t end) {
  constexpr int kRows = L == 16 ? 4 : 2;  // a tile's sums fill half of 32 or 16 registers
  const int64_t row_bytes = p.size * static_cast<int64_t>(sizeof(W));
  const int64_t panel = (kPanelBytes / row_bytes / kColumns + 1) * kColumns;
  for (int64_t o = begin; o < end; o += panel) {
    const int64_t stop = o + panel < end ? o + panel : end;
    int64_t row = 0;
    for (; row + kRows <= p.rows; row += kRows) tiles<L, kRows, W>(p, row, o, stop);
    if (kRows > 2 && row + 2 <= p.rows) tiles<L, 2, W>(p, row, o, stop), row += 2;
    if (row < p.rows) tiles<L, 1, W>(p, row, o, stop);
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

template <class W>
HYPENET_INLINE void norm_row(const float* x, const W* weight, int64_t size, float eps, float* y) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < size; ++i) sum += x[i] * x[i];
  const float inverse = 1.0F / std::sqrt(sum / static_cast<float>(size) + eps);
#pragma omp simd
  for (int64_t i = 0; i < size; ++i) y[i] = x[i] * inverse * wide(weight[i]);
}

/// Of each 2 L numbers those of even place, then those of odd place.
template <int L>
HYPENET_INLINE void part_places(float* y, int64_t size) {
  for (int64_t block = 0; block < size; block += 2 * L) {
    float even[L], odd[L];
    for (int i = 0; i < L; ++i) even[i] = y[block + 2 * i], odd[i] = y[block + 2 * i + 1];
    for (int i = 0; i < L; ++i) y[block + i] = even[i], y[block + L + i] = odd[i];
  }
}

}  // namespace

HYPENET_VECTORIZED
void pack_rows(const PackRowsParams& p, int64_t begin, int64_t end) {
  const int64_t size = p.size, y_row = packed_size(size);
  for (int64_t row = begin; row < end; ++row) {
    const float* const x = p.x + row * p.x_row;
    float* const y = p.y + row * y_row;
    if (p.norm_weight == nullptr) {
      for (int64_t i = 0; i < size; ++i) y[i] = x[i];
    } else if (p.norm_type == DType::kBFloat16) {
      norm_row(x, static_cast<const BFloat16*>(p.norm_weight), size, p.eps, y);
    } else {
      norm_row(x, static_cast<const float*>(p.norm_weight), size, p.eps, y);
    }
    if (p.gate != nullptr) {
      const float* const gate = p.gate + row * p.gate_row;
#pragma omp simd
      for (int64_t i = 0; i < size; ++i) y[i] *= sigmoid(gate[i]);
    }
    for (int64_t i = size; i < y_row; ++i) y[i] = 0;
    if (p.weight_type != DType::kBFloat16) continue;
    if (lanes() == 16) part_places<16>(y, y_row);
    if (lanes() == 8) part_places<8>(y, y_row);
    if (lanes() == 4) part_places<4>(y, y_row);
  }
}

void linear(const LinearParams& params, int64_t begin, int64_t end) {
  if (lanes() == 16) return linear_16(params, begin, end);
  if (lanes() == 8) return linear_8(params, begin, end);
  outputs<4>(params, begin, end);
}

}  // namespace hypenet::kernels
