// Rows of a file into groups of 16: a block's codes are read as eight words of four, whatever the
// file's form, and written as packed_linear.h says.
#include <algorithm>
#include <bit>
#include <cstring>

#include "kernels/cpu/packed_layout.h"

namespace hypenet::kernels {
namespace {

constexpr int kSteps = 8;  // of a block
constexpr uint32_t kLowNibbles = 0x0F0F0F0FU;

/// The codes of a block of one row: word s holds columns 4 s to 4 s + 3.
struct CodeWords {
  uint32_t words[kSteps];
};

HYPENET_INLINE uint32_t word_at(const uint8_t* from, int64_t index) {
  uint32_t word = 0;
  std::memcpy(&word, from + 4 * index, sizeof word);
  return word;
}

/// Bits 0 to 3, each at the bottom of a byte.
HYPENET_INLINE uint32_t spread(uint32_t bits) { return ((bits & 15U) * 0x00204081U) & 0x01010101U; }

/// 16 bytes whose low nibbles are the first 16 codes.
HYPENET_INLINE void read_nibbles(const uint8_t* nibbles, CodeWords& codes) {
  for (int s = 0; s < kSteps / 2; ++s) {
    const uint32_t word = word_at(nibbles, s);
    codes.words[s] = word & kLowNibbles, codes.words[s + 4] = (word >> 4) & kLowNibbles;
  }
}

HYPENET_INLINE void read_five_bits(const uint8_t* fifths, CodeWords& codes) {
  read_nibbles(fifths + 4, codes);
  const uint32_t bits = word_at(fifths, 0);
  for (int s = 0; s < kSteps; ++s) codes.words[s] |= spread(bits >> (4 * s)) << 4;
}

/// Block b of the eight of a block of 256; fifths may be null.
HYPENET_INLINE void read_k(const uint8_t* nibbles, const uint8_t* fifths, int b, CodeWords& codes) {
  const int shift = b % 2 * 4;
  for (int s = 0; s < kSteps; ++s) {
    codes.words[s] = (word_at(nibbles + b / 2 * 32, s) >> shift) & kLowNibbles;
    if (fifths != nullptr) codes.words[s] |= ((word_at(fifths, s) >> b) & 0x01010101U) << 4;
  }
}

HYPENET_INLINE void read_q6k(const uint8_t* nibbles, const uint8_t* uppers, int b,
                             CodeWords& codes) {
  const int half = b / 4, run = b % 4;
  for (int s = 0; s < kSteps; ++s) {
    const uint32_t lower = word_at(nibbles + half * 64 + run % 2 * 32, s) >> (run / 2 * 4);
    const uint32_t upper = word_at(uppers + half * 32, s) >> (run * 2);
    codes.words[s] = (lower & kLowNibbles) | (upper & 0x03030303U) << 4;
  }
}

/// Where block b of a row lies in a file: the block of 32 or of 256 that it is in or is.
struct FileBlock {
  const uint8_t* at;
  int b;  // of the eight of a block of 256
};

HYPENET_INLINE CodeWords read_codes(PackedKind kind, const FileBlock& block) {
  CodeWords codes = {};
  switch (kind) {
    case PackedKind::kQ40:
      read_nibbles(block.at + 2, codes);
      break;
    case PackedKind::kQ41:
      read_nibbles(block.at + 4, codes);
      break;
    case PackedKind::kQ50:
      read_five_bits(block.at + 2, codes);
      break;
    case PackedKind::kQ51:
      read_five_bits(block.at + 4, codes);
      break;
    case PackedKind::kQ80:
      for (int s = 0; s < kSteps; ++s) codes.words[s] = word_at(block.at + 2, s) ^ 0x80808080U;
      break;
    case PackedKind::kQ4K:
      read_k(block.at + 16, nullptr, block.b, codes);
      break;
    case PackedKind::kQ5K:
      read_k(block.at + 48, block.at + 16, block.b, codes);
      break;
    case PackedKind::kQ6K:
      read_q6k(block.at, block.at + 128, block.b, codes);
      break;
    case PackedKind::kInt4:
    case PackedKind::kInt8:
      break;
  }
  return codes;
}

HYPENET_INLINE void put_word(uint32_t word, int row, uint8_t* vector) {
  std::memcpy(vector + 4 * row, &word, sizeof word);
}

/// A row's codes to their places in a block of a group.
template <int kBits>
HYPENET_INLINE void write_codes(const CodeWords& codes, int row, uint8_t* block) {
  const uint32_t* const words = codes.words;
  if (kBits == 8) {
    for (int s = 0; s < kSteps; ++s) put_word(words[s], row, block + s * kStepBytes);
    return;
  }
  for (int s = 0; s < kSteps / 2; ++s) {
    const uint32_t nibbles = (words[s] & kLowNibbles) | (words[s + 4] & kLowNibbles) << 4;
    put_word(nibbles, row, block + s * kStepBytes);
  }
  uint8_t* const upper = block + kSteps / 2 * kStepBytes;
  uint32_t bits[2] = {};
  for (int s = 0; s < kSteps; ++s) {
    if (kBits == 5) bits[0] |= ((words[s] >> 4) & 0x01010101U) << s;
    if (kBits == 6) bits[s / 4] |= ((words[s] >> 4) & 0x03030303U) << (s % 4 * 2);
  }
  for (int i = 0; i < kBits - 4; ++i) put_word(bits[i], row, upper + i * kStepBytes);
}

HYPENET_INLINE void write_codes(PackedKind kind, const CodeWords& codes, int row, uint8_t* block) {
  switch (bits_of(kind)) {
    case 4:
      return write_codes<4>(codes, row, block);
    case 5:
      return write_codes<5>(codes, row, block);
    case 6:
      return write_codes<6>(codes, row, block);
    default:
      return write_codes<8>(codes, row, block);
  }
}

/// The eight scales and least numbers of six bits that Q4_K and Q5_K have in twelve bytes.
void write_k_scales(const uint8_t* s, int row, uint8_t* scales) {
  for (int j = 0; j < 8; ++j) {
    const int scale = j < 4 ? s[j] & 63 : (s[j + 4] & 15) | (s[j - 4] >> 6) << 4;
    const int least = j < 4 ? s[j + 4] & 63 : (s[j + 4] >> 4) | (s[j] >> 6) << 4;
    scales[j * kPackedRows + row] = static_cast<uint8_t>(scale);
    scales[(8 + j) * kPackedRows + row] = static_cast<uint8_t>(least);
  }
}

HYPENET_INLINE void put_half(const uint8_t* half, int row, uint8_t* halves) {
  std::memcpy(halves + 2 * row, half, 2);
}

/// The scales of a file's block to their places in a set of a group.
void write_scales(PackedKind kind, const uint8_t* block, int row, uint8_t* scales) {
  uint8_t* const second = scales + 2 * kPackedRows;
  if (kind == PackedKind::kQ6K) {
    put_half(block + 208, row, scales);
    for (int j = 0; j < 16; ++j) second[j * kPackedRows + row] = block[192 + j];
    return;
  }
  put_half(block, row, scales);
  if (has_least(kind)) put_half(block + 2, row, second);
  if (kind == PackedKind::kQ4K || kind == PackedKind::kQ5K) {
    write_k_scales(block + 4, row, second + 2 * kPackedRows);
  }
}

/// The file's row that row `row` comes from.
int64_t source_row(const FileRows& from, int64_t row) {
  if (from.paired_rows == 0) return row;
  const int64_t half = from.paired_rows / 2, place = row % from.paired_rows;
  return row - place + place % half * 2 + place / half;
}

constexpr int64_t file_block_bytes(PackedKind kind) {
  switch (kind) {
    case PackedKind::kQ40:
      return 18;
    case PackedKind::kQ41:
      return 20;
    case PackedKind::kQ50:
      return 22;
    case PackedKind::kQ51:
      return 24;
    case PackedKind::kQ80:
      return 34;
    case PackedKind::kQ4K:
      return 144;
    case PackedKind::kQ5K:
      return 176;
    case PackedKind::kQ6K:
      return 210;
    case PackedKind::kInt4:
    case PackedKind::kInt8:
      return 0;
  }
  return 0;
}

template <PackedKind kind>
void pack_row(const PackedMatrix& m, const uint8_t* from, int row, uint8_t* group) {
  constexpr ScaleLayout kScales = scale_layout(kind, 0);
  constexpr int64_t kBlocks = kScales.columns / kPackedColumns;  // of a file's block
  uint8_t* scales = group + scales_at(m);
  for (int64_t b = 0; b < packed_blocks(m.columns); ++b) {
    const FileBlock block{from + b / kBlocks * file_block_bytes(kind),
                          static_cast<int>(b % kBlocks)};
    write_codes(kind, read_codes(kind, block), row, group + b * code_bytes(kind));
    if (block.b != 0) continue;
    write_scales(kind, block.at, row, scales);
    scales += kScales.bytes;
  }
}

/// Rows of the group, the last group's fewer than 16.
int rows_of_group(const PackedMatrix& m, int64_t group) {
  return static_cast<int>(std::min<int64_t>(kPackedRows, m.rows - group * kPackedRows));
}

template <PackedKind kind>
void pack_kind(const PackedMatrix& m, const FileRows& from, uint8_t* groups, int64_t begin,
               int64_t end) {
  const int64_t bytes = packed_group_bytes(m);
  for (int64_t g = begin; g < end; ++g) {
    const int rows = rows_of_group(m, g);
    if (rows < kPackedRows) std::memset(groups + g * bytes, 0, static_cast<size_t>(bytes));
    for (int row = 0; row < rows; ++row) {
      const int64_t source = source_row(from, g * kPackedRows + row);
      pack_row<kind>(m, from.rows + source * from.row_bytes, row, groups + g * bytes);
    }
  }
}

/// A row of codes, and zeros behind it up to a whole block.
void pack_code_row(const PackedMatrix& m, const uint8_t* codes, int row, uint8_t* group) {
  for (int64_t b = 0; b < packed_blocks(m.columns); ++b) {
    uint8_t block[kPackedColumns] = {};
    const int64_t count = std::min(kPackedColumns, m.columns - b * kPackedColumns);
    std::memcpy(block, codes + b * kPackedColumns, static_cast<size_t>(count));
    CodeWords words;
    std::memcpy(words.words, block, sizeof words);
    write_codes(m.kind, words, row, group + b * code_bytes(m.kind));
  }
}

}  // namespace

int64_t file_row_bytes(PackedKind kind, int64_t columns) {
  if (is_integer(kind)) return 0;
  const int64_t values = scale_layout(kind, 0).columns;
  return columns % values == 0 ? columns / values * file_block_bytes(kind) : 0;
}

int64_t packed_group_bytes(const PackedMatrix& m) {
  const ScaleLayout scales = scale_layout(m.kind, m.scale_columns);
  const int64_t sets = (m.columns + scales.columns - 1) / scales.columns;
  return (scales_at(m) + sets * scales.bytes + kStepBytes - 1) / kStepBytes * kStepBytes;
}

void pack_groups(const PackedMatrix& m, const FileRows& from, uint8_t* groups, int64_t begin,
                 int64_t end) {
  with_kind(m.kind, [&](auto kind) {
    if constexpr (!is_integer(kind())) pack_kind<kind()>(m, from, groups, begin, end);
  });
}

void pack_groups(const PackedMatrix& m, const CodeRows& from, uint8_t* groups, int64_t begin,
                 int64_t end) {
  const int64_t bytes = packed_group_bytes(m),
                runs = (m.columns + m.scale_columns - 1) / m.scale_columns;
  for (int64_t g = begin; g < end; ++g) {
    uint8_t* const group = groups + g * bytes;
    std::memset(group, 0, static_cast<size_t>(bytes));
    for (int row = 0; row < rows_of_group(m, g); ++row) {
      const int64_t source = g * kPackedRows + row;
      pack_code_row(m, from.codes + source * m.columns, row, group);
      for (int64_t run = 0; run < runs; ++run) {
        uint8_t* const scales = group + scales_at(m) + run * 5 * kPackedRows;
        put_word(std::bit_cast<uint32_t>(from.scales[source * runs + run]), row, scales);
        scales[4 * kPackedRows + row] = from.zeros[source * runs + run];
      }
    }
  }
}

}  // namespace hypenet::kernels
