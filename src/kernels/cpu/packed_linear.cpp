// A tile is a group of 16 weight rows and 1, 4 or 8 rows of x. A weight's codes are unpacked once a
// tile; each block's products are summed as integers, then the blocks as floats in order, whatever
// the tile.
#include "kernels/packed_linear.h"

#include "kernels/cpu/packed_block.h"
#include "kernels/cpu/packed_tiles.h"

namespace hypenet::kernels {
namespace {

/// sums += a block of L weight rows times R rows of x.
template <int L, PackedKind kind, int R>
HYPENET_INLINE void add_block(const Codes<L, bits_of(kind)>& codes, const Scales<L, kind>& scales,
                              const RowBlock* x, int64_t x_row, Vector<L>* sums) {
  constexpr int kHalves = halves_of(kind), kBits = bits_of(kind);
  Integers<L> dots[kHalves][R];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    const RowBlock& row = x[r * x_row];
    if constexpr (kHalves == 2) {
      dots[0][r] = scales.zeros * row.minus_halves[0];
      dots[1][r] = scales.zeros * row.minus_halves[1];
    } else {
      dots[0][r] = has_least(kind) ? Integers<L>{} : scales.zeros * row.minus_sum;
    }
  }
#pragma GCC unroll 4
  for (int s = 0; s < 4; ++s) {
    Words<L> first, second;
    codes.read(s, first, second);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const auto* const four = reinterpret_cast<const FourCodes*>(x[r * x_row].codes);
      add_products<kBits>(dots[0][r], first, four[s]);
      add_products<kBits>(dots[kHalves - 1][r], second, four[s + 4]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    add_dots<L, kind>(dots[0][r], dots[kHalves - 1][r], scales, x[r * x_row], sums[r]);
  }
}

/// A group's outputs for R rows from `row`.
template <int L, PackedKind kind, int R>
HYPENET_INLINE void tile(const PackedLinearParams& p, int64_t group, int64_t row) {
  const PackedMatrix& m = p.weight;
  const int64_t blocks = packed_blocks(m.columns);
  const int64_t bytes = packed_group_bytes(m);
  const uint8_t* const start = m.groups + group * bytes;
  const Ahead<kind> ahead(m, start + bytes, bytes);
  for (int64_t part = 0; part < kPackedRows; part += L) {
    Vector<L> sums[R] = {};
    Scales<L, kind> scales(m, start + scales_at(m), part);
    const uint8_t* codes = start + 4 * part;
    const RowBlock* x = p.x + row * blocks;
    for (int64_t b = 0; b < blocks; ++b, codes += code_bytes(kind), ++x) {
      ahead.ask(b, codes);
      scales.read(b);
      add_block<L, kind, R>(Codes<L, bits_of(kind)>(codes), scales, x, blocks, sums);
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      if (row + r < p.rows) put<L>(p, row + r, group * kPackedRows + part, sums[r]);
    }
  }
}

template <int L, PackedKind kind, int R>
HYPENET_INLINE void tiles(const PackedLinearParams& p, int64_t row, int64_t begin, int64_t end) {
  for (int64_t group = begin; group < end; ++group) tile<L, kind, R>(p, group, row);
}

template <int L, PackedKind kind>
HYPENET_INLINE void outputs(const PackedLinearParams& p, int64_t begin, int64_t end) {
  // A tile's sums and products fit into registers.
  constexpr int kMost = L == 16 ? kRowPadding : 4;
  const int64_t panel = kPanelBytes / packed_group_bytes(p.weight) + 1;
  for (int64_t first = begin; first < end; first += panel) {
    const int64_t last = first + panel < end ? first + panel : end;
    for (int64_t row = 0; row < p.rows; row += kMost) {
      const int64_t rows = p.rows - row;
      if (L == 4 || rows == 1) {
        for (int64_t r = 0; r < kMost && r < rows; ++r) tiles<L, kind, 1>(p, row + r, first, last);
      } else if (kMost == 4 || rows <= 4) {
        if constexpr (L > 4) tiles<L, kind, 4>(p, row, first, last);
      } else {
        if constexpr (L == 16) tiles<L, kind, kMost>(p, row, first, last);
      }
    }
  }
}

template <int L>
HYPENET_INLINE void outputs(const PackedLinearParams& p, int64_t begin, int64_t end) {
  with_kind(
      p.weight.kind, [&](auto kind)
                         __attribute__((always_inline)) { outputs<L, kind()>(p, begin, end); });
}

#ifdef HYPENET_INSTRUCTIONS
HYPENET_BYTE_DOTS void packed_16(const PackedLinearParams& p, int64_t begin, int64_t end) {
  outputs<16>(p, begin, end);
}
/// Sixteen rows of x at a time by tile products, those left over as before: the bits are the same.
void packed_tiles_and_16(const PackedLinearParams& p, int64_t begin, int64_t end) {
  const bool has_tiles = has_whole_tiles(p.weight.kind);
  const int64_t rows = has_tiles ? p.rows / kTileProductRows * kTileProductRows : 0;
  if (rows > 0) packed_tiles(p, rows, begin, end);
  PackedLinearParams left = p;
  left.x += rows * packed_blocks(p.weight.columns), left.y += rows * p.y_row, left.rows -= rows;
  if (left.rows > 0) packed_16(left, begin, end);
}
HYPENET_8_LANES void packed_8(const PackedLinearParams& p, int64_t begin, int64_t end) {
  outputs<8>(p, begin, end);
}
#endif

}  // namespace

bool packed_linear_by(PackedForm form, const PackedLinearParams& params, int64_t begin,
                      int64_t end) {
#ifdef HYPENET_INSTRUCTIONS
  if (form == PackedForm::kAmx) {
    if (has_tile_products()) packed_tiles_and_16(params, begin, end);
    return has_tile_products();
  }
  if (form == PackedForm::kVnni) {
    if (has_products_of_16()) packed_16(params, begin, end);
    return has_products_of_16();
  }
  if (form == PackedForm::kAvx2) {
    if (lanes() >= 8) packed_8(params, begin, end);
    return lanes() >= 8;
  }
#endif
  if (form == PackedForm::kPlain) outputs<4>(params, begin, end);
  return form == PackedForm::kPlain;
}

PackedForm packed_form() {
#ifdef HYPENET_INSTRUCTIONS
  if (has_tile_products()) return PackedForm::kAmx;
  if (has_products_of_16()) return PackedForm::kVnni;
  if (lanes() >= 8) return PackedForm::kAvx2;
#endif
  return PackedForm::kPlain;
}

void packed_linear(const PackedLinearParams& params, int64_t begin, int64_t end) {
  packed_linear_by(packed_form(), params, begin, end);
}

}  // namespace hypenet::kernels
