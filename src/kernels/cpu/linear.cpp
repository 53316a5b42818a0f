// A dot product is 16 sums side by side along the row, whatever tile it is part of, so an output's
// bits depend on its own row and weights alone. The weights go through memory once.
#include "kernels/linear.h"

#include <cmath>
#include <cstring>

#include "kernels/cpu/exponential.h"
#include "kernels/cpu/vectorize.h"

namespace hypenet::kernels {
namespace {

constexpr int kLanes = 16;
constexpr int kColumns = 4;                    // outputs of a tile
constexpr int64_t kPanelBytes = 384 * 1024;    // of weights: stay in L2 while all rows meet them
constexpr int64_t kPrefetchBeyondTile = 4096;  // bytes after the next tile's first

typedef float Vector __attribute__((vector_size(64), aligned(4), may_alias));
typedef uint32_t Words __attribute__((vector_size(64), aligned(2), may_alias));
typedef float Quad __attribute__((vector_size(16), aligned(4), may_alias));

using BFloat16 = uint16_t;  // the upper half of a float

HYPENET_INLINE float wide(float x) { return x; }
HYPENET_INLINE float wide(BFloat16 x) {
  const uint32_t bits = static_cast<uint32_t>(x) << 16;
  float y;
  std::memcpy(&y, &bits, sizeof y);
  return y;
}

/// 32 weights as two vectors. A word of two bfloat16 numbers is one by a shift, the other by a
/// mask: that is why packed rows have even places first.
HYPENET_INLINE void load_block(const float* w, Vector& first, Vector& second) {
  first = *reinterpret_cast<const Vector*>(w);
  second = *reinterpret_cast<const Vector*>(w + kLanes);
}
HYPENET_INLINE void load_block(const BFloat16* w, Vector& first, Vector& second) {
  const Words words = *reinterpret_cast<const Words*>(w);
  first = reinterpret_cast<Vector>(words << 16);
  second = reinterpret_cast<Vector>(words & 0xFFFF0000U);
}

/// sums += a block of `kRows` rows times a block of four rows of weights.
template <int kRows, class W>
HYPENET_INLINE void add_block(const float* x, int64_t x_row, const W* const* w, int64_t at,
                              Vector (*sums)[kColumns]) {
  Vector first[kColumns], second[kColumns];
#pragma GCC unroll 4
  for (int c = 0; c < kColumns; ++c) load_block(w[c] + at, first[c], second[c]);
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) {
    const Vector low = *reinterpret_cast<const Vector*>(x + r * x_row);
    const Vector high = *reinterpret_cast<const Vector*>(x + r * x_row + kLanes);
#pragma GCC unroll 4
    for (int c = 0; c < kColumns; ++c) sums[r][c] += low * first[c];
#pragma GCC unroll 4
    for (int c = 0; c < kColumns; ++c) sums[r][c] += high * second[c];
  }
}

/// Lanes 4 kPart .. 4 kPart + 3.
template <int kPart>
HYPENET_INLINE Quad part(Vector v) {
  return __builtin_shufflevector(v, v, 4 * kPart, 4 * kPart + 1, 4 * kPart + 2, 4 * kPart + 3);
}

/// The sum of each of four vectors, over halves, then halves of these.
HYPENET_INLINE Quad sums_of(const Vector* v) {
  Quad q[kColumns];
#pragma GCC unroll 4
  for (int c = 0; c < kColumns; ++c) {
    q[c] = (part<0>(v[c]) + part<2>(v[c])) + (part<1>(v[c]) + part<3>(v[c]));
  }
  const auto halves = [](Quad a, Quad b) __attribute__((always_inline)) {
    return __builtin_shufflevector(a, b, 0, 1, 4, 5) + __builtin_shufflevector(a, b, 2, 3, 6, 7);
  };
  const Quad a = halves(q[0], q[1]), b = halves(q[2], q[3]);
  return __builtin_shufflevector(a, b, 0, 2, 4, 6) + __builtin_shufflevector(a, b, 1, 3, 5, 7);
}

/// The products of `kRows` packed rows with four rows of weights. `next` is where the weights that
/// are wanted after these lie: as many of them are asked for as are used here.
template <int kRows, class W>
HYPENET_INLINE void multiply(const float* x, const W* const* w, int64_t size, const W* next,
                             Quad* products) {
  constexpr int64_t kLine = 64 / sizeof(W);  // weights a cache line
  const int64_t x_row = packed_size(size), whole = size / kLinearBlock * kLinearBlock;
  Vector sums[kRows][kColumns] = {};
  for (int64_t k = 0; k < whole; k += kLinearBlock) {
#pragma GCC unroll 8
    for (int64_t i = 0; i < kColumns * kLinearBlock; i += kLine) {
      __builtin_prefetch(next + kColumns * k + i);
    }
    add_block<kRows>(x + k, x_row, w, k, sums);
  }
  if (whole < size) {
    W padded[kColumns][kLinearBlock] = {};
    const W* rows[kColumns];
    for (int c = 0; c < kColumns; ++c) {
      for (int64_t k = whole; k < size; ++k) padded[c][k - whole] = w[c][k];
      rows[c] = padded[c];
    }
    add_block<kRows>(x + whole, x_row, rows, 0, sums);
  }
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) products[r] = sums_of(sums[r]);
}

/// Outputs o .. o + 3, or up to `end`, of `kRows` rows from `row`.
template <int kRows, class W>
HYPENET_INLINE void tile(const LinearParams& p, int64_t row, int64_t o, int64_t end) {
  const W* const weight = static_cast<const W*>(p.weight);
  const W* const bias = static_cast<const W*>(p.bias);
  const W* w[kColumns];
  for (int c = 0; c < kColumns; ++c) w[c] = weight + (o + c < end ? o + c : end - 1) * p.size;
  Quad products[kRows];
  const W* const next = w[0] + kColumns * p.size + kPrefetchBeyondTile / sizeof(W);
  multiply<kRows>(p.x + row * packed_size(p.size), w, p.size, next, products);
  Quad biases = {};
  const int count = end - o < kColumns ? static_cast<int>(end - o) : kColumns;
  for (int c = 0; bias != nullptr && c < count; ++c) biases[c] = wide(bias[o + c]);
  for (int r = 0; r < kRows; ++r) {
    float* const y = p.y + (row + r) * p.y_row + o;
    const Quad sums = products[r] + biases;
    if (count == kColumns) {
      Quad& four = *reinterpret_cast<Quad*>(y);
      four = p.adds ? four + sums : sums;
    } else {
      for (int c = 0; c < count; ++c) y[c] = p.adds ? y[c] + sums[c] : sums[c];
    }
  }
}

/// Outputs begin .. end - 1 of `kRows` rows from `row`.
template <int kRows, class W>
HYPENET_INLINE void tiles(const LinearParams& p, int64_t row, int64_t begin, int64_t end) {
  for (int64_t o = begin; o < end; o += kColumns) tile<kRows, W>(p, row, o, end);
}

/// kRows: as many as leave all sums of a tile in registers.
template <int kRows, class W>
HYPENET_INLINE void outputs(const LinearParams& p, int64_t begin, int64_t end) {
  const int64_t row_bytes = p.size * static_cast<int64_t>(sizeof(W));
  const int64_t panel = (kPanelBytes / row_bytes / kColumns + 1) * kColumns;
  for (int64_t o = begin; o < end; o += panel) {
    const int64_t stop = o + panel < end ? o + panel : end;
    int64_t row = 0;
    for (; row + kRows <= p.rows; row += kRows) tiles<kRows, W>(p, row, o, stop);
    if (kRows > 2 && row + 2 <= p.rows) tiles<2, W>(p, row, o, stop), row += 2;
    if (row < p.rows) tiles<1, W>(p, row, o, stop);
  }
}

template <class W>
HYPENET_INLINE void outputs(const LinearParams& p, int64_t begin, int64_t end) {
#if defined(__x86_64__)
  if (!__builtin_cpu_supports("avx512f")) return outputs<2, W>(p, begin, end);
#endif
  outputs<4, W>(p, begin, end);
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

/// Each 32 numbers: those of even place, then those of odd place.
HYPENET_INLINE void part_places(float* y, int64_t size) {
  for (int64_t block = 0; block < size; block += kLinearBlock) {
    float even[kLanes], odd[kLanes];
    for (int i = 0; i < kLanes; ++i) even[i] = y[block + 2 * i], odd[i] = y[block + 2 * i + 1];
    for (int i = 0; i < kLanes; ++i) y[block + i] = even[i], y[block + kLanes + i] = odd[i];
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
    if (p.weight_type == DType::kBFloat16) part_places(y, y_row);
  }
}

HYPENET_VECTORIZED
void linear(const LinearParams& params, int64_t begin, int64_t end) {
  if (params.weight_type == DType::kBFloat16) {
    outputs<BFloat16>(params, begin, end);
  } else {
    outputs<float>(params, begin, end);
  }
}

}  // namespace hypenet::kernels
