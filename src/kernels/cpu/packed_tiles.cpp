// A block's codes are a tile as they lie: eight steps of 64 bytes, which is how tdpbsud wants its
// unsigned side. Every block has scales of its own, so only its products go by tiles; their sums
// are those of the other kernels, to the bit.
#include "kernels/cpu/packed_tiles.h"

#include <sys/syscall.h>
#include <unistd.h>

#include "kernels/cpu/packed_block.h"

namespace hypenet::kernels {

#ifdef HYPENET_INSTRUCTIONS
namespace {

constexpr int kRows = kTileProductRows;
constexpr int64_t kBlockCodes = 8 * kStepBytes;  // bytes of a block's codes, a byte each

/// What ldtilecfg reads: rows, and bytes of a row, of each tile register.
struct alignas(64) TileShapes {
  uint8_t palette = 1, start_row = 0, unused[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};

/// Three tile registers while it lives: 0 sums, 1 codes of x, 2 codes of weights.
class TileRegisters {
 public:
  HYPENET_INLINE TileRegisters() {
    const TileShapes shapes = {.row_bytes = {kStepBytes, kPackedColumns, kStepBytes},
                               .rows = {kRows, kRows, 8}};
    asm volatile("ldtilecfg %0" : : "m"(shapes));
  }
  HYPENET_INLINE ~TileRegisters() { asm volatile("tilerelease"); }
  TileRegisters(const TileRegisters&) = delete;
  TileRegisters& operator=(const TileRegisters&) = delete;
};

/// The integers of a block: of sixteen rows of x, sixteen weight rows each.
struct alignas(64) TileDots {
  int32_t rows[kRows][kPackedRows];
};

/// dots = codes of x, `x_row` bytes apart, times weights.
HYPENET_INLINE void multiply_tiles(const int8_t* x, int64_t x_row, const uint8_t* weights,
                                   TileDots& dots) {
  struct Codes {
    uint8_t codes[kBlockCodes];
  };
  // x is not among the operands: nobody writes it here. Told that all memory counts, the compiler
  // would keep the sums there.
  asm volatile(
      "tilezero %%tmm0\n\t"
      "tileloadd (%1, %2, 1), %%tmm1\n\t"
      "tileloadd (%3, %4, 1), %%tmm2\n\t"
      "tdpbsud %%tmm2, %%tmm1, %%tmm0\n\t"
      "tilestored %%tmm0, (%5, %4, 1)"
      : "=m"(dots)
      : "r"(x), "r"(x_row), "r"(weights), "r"(kStepBytes), "r"(&dots),
        "m"(*reinterpret_cast<const Codes*>(weights)));
}

/// dots += zeros * minus_sum. Both fit into 16 bits.
HYPENET_INLINE void add_zeros(Integers<16>& dots, const Integers<16>& zeros,
                              const int32_t& minus_sum) {
  asm("vpdpwssd %2%{1to16%}, %1, %0" : "+v"(dots) : "v"(zeros), "m"(minus_sum));
}

/// The codes of a block, of fewer than 8 bits, a byte each.
template <PackedKind kind>
HYPENET_INLINE void unpack(const uint8_t* codes, uint8_t* bytes) {
  const Codes<16, bits_of(kind)> block(codes);
#pragma GCC unroll 4
  for (int s = 0; s < 4; ++s) {
    Words<16> first, second;
    block.read(s, first, second);
    store(first, bytes + s * kStepBytes), store(second, bytes + (s + 4) * kStepBytes);
  }
}

/// sums += what a block's integers stand for.
template <PackedKind kind>
HYPENET_INLINE void add_tile(const TileDots& dots, const Scales<16, kind>& scales,
                             const RowBlock* x, int64_t x_row, Vector<16>* sums) {
  const RowBlock* quads[kRows / 4];
#pragma GCC unroll 4
  for (int q = 0; q < kRows / 4; ++q) {
    quads[q] = x + 4 * q * x_row;
    asm("" : "+r"(quads[q]));  // else the compiler keeps sixteen pointers, and not in registers
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    const RowBlock& row = quads[r / 4][r % 4 * x_row];
    Integers<16> integers;
    load(dots.rows[r], integers);
    if constexpr (!has_least(kind)) add_zeros(integers, scales.zeros, row.minus_sum);
    add_dots<16, kind>(integers, integers, scales, row, sums[r]);
  }
}

/// A group's blocks for sixteen rows of x, on their way. A tile waits for what was stored just
/// before, and loads wait for what a tile has just stored: so codes are unpacked some blocks ahead
/// of their tiles, and these are multiplied some blocks ahead of their sums.
template <PackedKind kind>
class TileBlocks {
 public:
  HYPENET_INLINE TileBlocks(const uint8_t* codes, const RowBlock* x, int64_t blocks)
      : codes_(codes), x_(x), blocks_(blocks) {
    for (int64_t b = 0; b < kUnpackedAhead; ++b) unpack_block(b);
    for (int64_t b = 0; b < kMultipliedAhead; ++b) multiply(b);
  }

  /// The integers of block b, each block in its turn.
  HYPENET_INLINE const TileDots& dots(int64_t b) {
    unpack_block(b + kUnpackedAhead), multiply(b + kMultipliedAhead);
    return dots_[b % kRing];
  }

 private:
  static constexpr bool kIsPacked = bits_of(kind) < 8;
  static constexpr int64_t kMultipliedAhead = 2, kUnpackedAhead = 4, kRing = 8;  // blocks

  HYPENET_INLINE void unpack_block(int64_t b) {
    if constexpr (kIsPacked) {
      if (b < blocks_) unpack<kind>(codes_ + b * code_bytes(kind), bytes_[b % kRing]);
    }
  }

  HYPENET_INLINE void multiply(int64_t b) {
    if (b >= blocks_) return;
    const uint8_t* const tile = kIsPacked ? bytes_[b % kRing] : codes_ + b * code_bytes(kind);
    multiply_tiles(x_[b].codes, blocks_ * static_cast<int64_t>(sizeof *x_), tile, dots_[b % kRing]);
  }

  alignas(64) uint8_t bytes_[kIsPacked ? kRing : 1][kBlockCodes];
  TileDots dots_[kRing];
  const uint8_t* codes_;
  const RowBlock* x_;
  int64_t blocks_;
};

/// A group's outputs for sixteen rows from `row`.
template <PackedKind kind>
HYPENET_INLINE void tile(const PackedLinearParams& p, int64_t group, int64_t row) {
  const PackedMatrix& m = p.weight;
  const int64_t blocks = packed_blocks(m.columns), bytes = packed_group_bytes(m);
  const uint8_t* const start = m.groups + group * bytes;
  const RowBlock* const x = p.x + row * blocks;
  const Ahead<kind> ahead(m, start + bytes, bytes);
  TileBlocks<kind> tiles(start, x, blocks);
  Scales<16, kind> scales(m, start + scales_at(m), 0);
  Vector<16> sums[kRows] = {};
  for (int64_t b = 0; b < blocks; ++b) {
    ahead.ask(b, start + b * code_bytes(kind));
    scales.read(b);
    add_tile<kind>(tiles.dots(b), scales, x + b, blocks, sums);
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) put<16>(p, row + r, group * kPackedRows, sums[r]);
}

template <PackedKind kind>
HYPENET_INLINE void outputs(const PackedLinearParams& p, int64_t rows, int64_t begin, int64_t end) {
  const TileRegisters registers;
  const int64_t panel = kPanelBytes / packed_group_bytes(p.weight) + 1;
  for (int64_t first = begin; first < end; first += panel) {
    const int64_t last = first + panel < end ? first + panel : end;
    for (int64_t row = 0; row < rows; row += kRows) {
      for (int64_t group = first; group < last; ++group) tile<kind>(p, group, row);
    }
  }
}

}  // namespace

HYPENET_BYTE_DOTS
void packed_tiles(const PackedLinearParams& p, int64_t rows, int64_t begin, int64_t end) {
  with_kind(
      p.weight.kind, [&](auto kind)
                         __attribute__((always_inline)) { outputs<kind()>(p, rows, begin, end); });
}

bool has_tile_products() {
  // Tiles are 8 KB of state for each thread that uses them: Linux gives them to those who ask.
  constexpr int kAskFor = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  static const bool kHasThem = has_products_of_16() && __builtin_cpu_supports("amx-int8") &&
                               syscall(SYS_arch_prctl, kAskFor, kTileData) == 0;
  return kHasThem;
}
#else
void packed_tiles(const PackedLinearParams&, int64_t, int64_t, int64_t) {}
bool has_tile_products() { return false; }
#endif

}  // namespace hypenet::kernels
