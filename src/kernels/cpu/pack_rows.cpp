// Rows through norm and gate into the form that `linear` reads, a piece of a row at a time.
#include "kernels/cpu/bfloat16.h"
#include "kernels/cpu/lanes.h"
#include "kernels/cpu/ready_rows.h"

namespace hypenet::kernels {
namespace {

constexpr int64_t kPiece = 8 * kLinearBlock;  // numbers

/// Of each 2 L numbers those of even place, then those of odd place.
template <int L>
HYPENET_INLINE void part_places(const float* x, int64_t count, float* y) {
  for (int64_t block = 0; block < count; block += 2 * L) {
    for (int64_t i = 0; i < L; ++i) {
      y[block + i] = x[block + 2 * i], y[block + L + i] = x[block + 2 * i + 1];
    }
  }
}

/// `count` numbers, a multiple of a block, at `place` of y.
HYPENET_INLINE void put_piece(const PackRowsParams& p, const float* x, int64_t count,
                              int64_t place) {
  if (p.y_type == DType::kBFloat16) {
    BFloat16* const y = static_cast<BFloat16*>(p.y) + place;
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) y[i] = rounded(x[i]);
    return;
  }
  float* const y = static_cast<float*>(p.y) + place;
  if (p.weight_type != DType::kBFloat16) {
    for (int64_t i = 0; i < count; ++i) y[i] = x[i];
  } else if (lanes() == 16) {
    part_places<16>(x, count, y);
  } else if (lanes() == 8) {
    part_places<8>(x, count, y);
  } else {
    part_places<4>(x, count, y);
  }
}

}  // namespace

DType packed_type(DType weight_type) {
  const bool has_dots = weight_type == DType::kBFloat16 && has_bfloat16_dots();
  return has_dots ? DType::kBFloat16 : DType::kFloat32;
}

HYPENET_VECTORIZED
void pack_rows(const PackRowsParams& p, int64_t begin, int64_t end) {
  const int64_t size = p.size, y_row = packed_size(size);
  for (int64_t row = begin; row < end; ++row) {
    const float factor = norm_factor(p, row);
    for (int64_t first = 0; first < y_row; first += kPiece) {
      const int64_t whole = y_row - first < kPiece ? y_row - first : kPiece;
      const int64_t count = size - first < whole ? size - first : whole;
      float piece[kPiece];
      ready_piece(p, row, first, count, factor, piece);
      for (int64_t i = count; i < whole; ++i) piece[i] = 0;
      put_piece(p, piece, whole, row * y_row + first);
    }
  }
}

}  // namespace hypenet::kernels
