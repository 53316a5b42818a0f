// Rows for packed weights: through norm and gate, then to integers of eight bits, a block of 32 at
// a time.
#include <bit>

#include "kernels/cpu/ready_rows.h"
#include "kernels/packed_linear.h"

namespace hypenet::kernels {
namespace {

constexpr int64_t kPiece = 8 * kPackedColumns;  // numbers
constexpr float kMostCode = 127;
constexpr uint32_t kInfinity = 0x7F800000U;

/// To the nearest integer, of two equally near the even one, for |x| < 2^22: what is added leaves
/// no bits for a fraction.
HYPENET_INLINE int32_t nearest(float x) {
  constexpr float kNoFraction = 0x1.8p23F;
  return std::bit_cast<int32_t>(x + kNoFraction) - std::bit_cast<int32_t>(kNoFraction);
}

HYPENET_INLINE void round_block(const float* x, RowBlock& y) {
  uint32_t largest = 0;  // as bits: what is not finite is the largest
#pragma omp simd reduction(max : largest)
  for (int64_t i = 0; i < kPackedColumns; ++i) {
    const uint32_t size = std::bit_cast<uint32_t>(x[i]) & 0x7FFFFFFFU;
    largest = size > largest ? size : largest;
  }
  const float most = std::bit_cast<float>(largest);
  const bool is_finite = largest < kInfinity;
  // Below, the factor would be infinite: such a block counts as zero.
  const bool has_codes = is_finite && most > 0x1p-100F;
  const float factor = has_codes ? kMostCode / most : 0.0F;
  int32_t first = 0, second = 0;
#pragma omp simd reduction(+ : first, second)
  for (int64_t i = 0; i < kPackedColumns / 2; ++i) {
    const int32_t a = has_codes ? nearest(x[i] * factor) : 0;
    const int32_t b = has_codes ? nearest(x[i + kPackedColumns / 2] * factor) : 0;
    y.codes[i] = static_cast<int8_t>(a), y.codes[i + kPackedColumns / 2] = static_cast<int8_t>(b);
    first += a, second += b;
  }
  y.scale = !is_finite  ? std::bit_cast<float>(kInfinity | 0x400000U)
            : has_codes ? most / kMostCode
                        : 0.0F;
  y.sum = y.scale * static_cast<float>(first + second);
  y.minus_sum = -(first + second), y.minus_halves[0] = -first, y.minus_halves[1] = -second;
}

}  // namespace

HYPENET_VECTORIZED
void round_rows(const PackRowsParams& p, RowBlock* y, int64_t begin, int64_t end) {
  const int64_t blocks = packed_blocks(p.size);
  for (int64_t row = begin; row < end; ++row) {
    const float factor = norm_factor(p, row);
    for (int64_t first = 0; first < p.size; first += kPiece) {
      const int64_t count = p.size - first < kPiece ? p.size - first : kPiece;
      float piece[kPiece];
      ready_piece(p, row, first, count, factor, piece);
      for (int64_t i = count; i < kPiece; ++i) piece[i] = 0;
      RowBlock* const to = y + row * blocks + first / kPackedColumns;
      for (int64_t b = 0; b < packed_blocks(count); ++b) {
        round_block(piece + b * kPackedColumns, to[b]);
      }
    }
  }
}

}  // namespace hypenet::kernels
