// A tile is a group of 16 weight rows and 1, 4 or 8 rows of x. A weight's codes are unpacked once a
// tile; each block's products are summed as integers, then the blocks as floats in order, whatever
// the tile.
#include "kernels/packed_linear.h"

#include "kernels/cpu/packed_scales.h"

namespace hypenet::kernels {
namespace {

constexpr int64_t kAhead = 6144;             // bytes: how early codes are asked for, into L2
constexpr int64_t kPanelBytes = 384 * 1024;  // of weights: stay in L2 while all rows meet them

/// The codes of a block, of L rows.
template <int L, int kBits>
struct Codes {
  HYPENET_INLINE explicit Codes(const uint8_t* from) : block(from) {
    for (int i = 0; kBits < 8 && i < kBits - 4; ++i) load(block + (4 + i) * kStepBytes, upper[i]);
  }

  /// Steps s and s + 4, s < 4.
  HYPENET_INLINE void read(int s, Words<L>& first, Words<L>& second) const {
    load(block + s * kStepBytes, first);
    if constexpr (kBits == 8) {
      load(block + (s + 4) * kStepBytes, second);
      return;
    }
    second = (first >> 4) & 0x0F0F0F0FU;
    first &= 0x0F0F0F0FU;
    if constexpr (kBits == 5) {
      first |= (upper[0] << (4 - s)) & 0x10101010U;
      second |= (upper[0] >> s) & 0x10101010U;
    }
    if constexpr (kBits == 6) {
      const int up = 4 - 2 * s;  // to bits 4 and 5
      first |= (up > 0 ? upper[0] << up : upper[0] >> -up) & 0x30303030U;
      second |= (up > 0 ? upper[1] << up : upper[1] >> -up) & 0x30303030U;
    }
  }

  const uint8_t* block;
  Words<L> upper[2];
};

/// What is asked for early while a group is read: codes, and the scales of the group that follows,
/// which lie behind its codes but are read first.
template <PackedKind kind>
struct Ahead {
  HYPENET_INLINE Ahead(const PackedMatrix& m, const uint8_t* next_group, int64_t group_bytes)
      : scale_bytes(group_bytes - scales_at(m)),
        blocks(packed_blocks(m.columns)),
        step((scale_bytes + blocks - 1) / blocks),
        scales(next_group + scales_at(m)) {}

  /// While block b is read, whose codes these are. Between two groups' codes lie scales.
  HYPENET_INLINE void ask(int64_t b, const uint8_t* codes) const {
    const bool is_within = b + kAhead / code_bytes(kind) < blocks;
    const uint8_t* const ahead = codes + kAhead + (is_within ? 0 : scale_bytes);
    for (int i = 0; i < bits_of(kind); ++i) __builtin_prefetch(ahead + i * kStepBytes, 0, 2);
    __builtin_prefetch(scales + b * step, 0, 2);
  }

  int64_t scale_bytes, blocks, step;
  const uint8_t* scales;
};

/// sums += a block of L weight rows times R rows of x.
template <int L, PackedKind kind, int R>
HYPENET_INLINE void add_block(const Codes<L, bits_of(kind)>& codes, const Scales<L, kind>& scales,
                              const RowBlock* x, int64_t x_row, Vector<L>* sums) {
  constexpr int kHalves = kind == PackedKind::kQ6K ? 2 : 1, kBits = bits_of(kind);
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
    const RowBlock& row = x[r * x_row];
    sums[r] += __builtin_convertvector(dots[0][r], Vector<L>) * (scales.scale * row.scale);
    if constexpr (kHalves == 2) {
      sums[r] += __builtin_convertvector(dots[1][r], Vector<L>) * (scales.second * row.scale);
    }
    if constexpr (has_least(kind)) sums[r] += scales.least * row.sum;
  }
}

/// Outputs first .. first + L - 1 of a row become these sums and the biases, or are added to.
template <int L>
HYPENET_INLINE void put(const PackedLinearParams& p, int64_t row, int64_t first,
                        const Vector<L>& sums) {
  const int64_t count = p.weight.rows - first < L ? p.weight.rows - first : L;
  float* const y = p.y + row * p.y_row + first;
  if (count == L) {
    Vector<L> before = {}, bias = {};
    if (p.adds) load(y, before);
    if (p.bias != nullptr) load(p.bias + first, bias);
    store(before + (sums + bias), y);
    return;
  }
  for (int64_t i = 0; i < count; ++i) {
    const float sum = sums[i] + (p.bias == nullptr ? 0.0F : p.bias[first + i]);
    y[i] = p.adds ? y[i] + sum : sum;
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
  switch (p.weight.kind) {
    case PackedKind::kQ40:
      return outputs<L, PackedKind::kQ40>(p, begin, end);
    case PackedKind::kQ41:
      return outputs<L, PackedKind::kQ41>(p, begin, end);
    case PackedKind::kQ50:
      return outputs<L, PackedKind::kQ50>(p, begin, end);
    case PackedKind::kQ51:
      return outputs<L, PackedKind::kQ51>(p, begin, end);
    case PackedKind::kQ80:
      return outputs<L, PackedKind::kQ80>(p, begin, end);
    case PackedKind::kQ4K:
      return outputs<L, PackedKind::kQ4K>(p, begin, end);
    case PackedKind::kQ5K:
      return outputs<L, PackedKind::kQ5K>(p, begin, end);
    case PackedKind::kQ6K:
      return outputs<L, PackedKind::kQ6K>(p, begin, end);
    case PackedKind::kInt4:
      return outputs<L, PackedKind::kInt4>(p, begin, end);
    case PackedKind::kInt8:
      return outputs<L, PackedKind::kInt8>(p, begin, end);
  }
}

#ifdef HYPENET_INSTRUCTIONS
#define HYPENET_BYTE_DOTS __attribute__((target("arch=x86-64-v4,avx512vnni")))
HYPENET_BYTE_DOTS void packed_16(const PackedLinearParams& p, int64_t begin, int64_t end) {
  outputs<16>(p, begin, end);
}
HYPENET_8_LANES void packed_8(const PackedLinearParams& p, int64_t begin, int64_t end) {
  outputs<8>(p, begin, end);
}
#endif

}  // namespace

bool packed_linear_by(PackedForm form, const PackedLinearParams& params, int64_t begin,
                      int64_t end) {
#ifdef HYPENET_INSTRUCTIONS
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
  if (has_products_of_16()) return PackedForm::kVnni;
  if (lanes() >= 8) return PackedForm::kAvx2;
#endif
  return PackedForm::kPlain;
}

void packed_linear(const PackedLinearParams& params, int64_t begin, int64_t end) {
  packed_linear_by(packed_form(), params, begin, end);
}

}  // namespace hypenet::kernels
