// Numbers of packed rows one by one: for embeddings, for products that keep the rows of x as they
// are, and for whatever does not multiply by packed weights.
#include <algorithm>
#include <cstring>

#include "kernels/cpu/float16.h"
#include "kernels/cpu/packed_layout.h"

namespace hypenet::kernels {
namespace {

HYPENET_INLINE uint32_t word_of(const uint8_t* block, int vector, int row) {
  uint32_t word = 0;
  std::memcpy(&word, block + vector * kStepBytes + 4 * row, sizeof word);
  return word;
}

/// The codes of one row of a block, in the order of the columns: four in a word.
HYPENET_INLINE void read_codes(PackedKind kind, const uint8_t* block, int row, uint32_t* codes) {
  const int bits = bits_of(kind);
  if (bits == 8) {
    for (int s = 0; s < 8; ++s) codes[s] = word_of(block, s, row);
    return;
  }
  for (int s = 0; s < 4; ++s) {
    const uint32_t word = word_of(block, s, row);
    codes[s] = word & 0x0F0F0F0FU, codes[s + 4] = (word >> 4) & 0x0F0F0F0FU;
  }
  if (bits == 5) {
    const uint32_t fifths = word_of(block, 4, row);
    for (int s = 0; s < 8; ++s) codes[s] |= ((fifths >> s) & 0x01010101U) << 4;
  }
  for (int s = 0; bits == 6 && s < 8; ++s) {
    const uint32_t upper = word_of(block, 4 + s / 4, row);
    codes[s] |= ((upper >> (s % 4 * 2)) & 0x03030303U) << 4;
  }
}

HYPENET_INLINE float half_of(const uint8_t* halves, int row) {
  uint16_t half = 0;
  std::memcpy(&half, halves + 2 * row, sizeof half);
  return wide_half(half);
}

/// A number is scale * (code - zero) + least; the second 16 columns may have another scale.
struct RowScales {
  float first, second, least;
  int zero;
};

HYPENET_INLINE RowScales read_scales(const PackedMatrix& m, const uint8_t* scales, int64_t b,
                                     int row) {
  const ScaleLayout layout = scale_layout(m.kind, m.scale_columns);
  const uint8_t* const at = scales + b * kPackedColumns / layout.columns * layout.bytes;
  if (is_integer(m.kind)) {
    float scale = 0;
    std::memcpy(&scale, at + 4 * row, sizeof scale);
    return {scale, scale, 0, at[4 * kPackedRows + row]};
  }
  const float d = half_of(at, row);
  const uint8_t* const second = at + 2 * kPackedRows;
  if (m.kind == PackedKind::kQ6K) {
    const uint8_t* const bytes = second + b % 8 * 2 * kPackedRows + row;
    const auto scale = [&](int i) {
      return d * static_cast<float>(static_cast<int8_t>(bytes[i * kPackedRows]));
    };
    return {scale(0), scale(1), 0, zero_of(m.kind)};
  }
  if (!has_least(m.kind)) return {d, d, 0, zero_of(m.kind)};
  const float least = half_of(second, row);
  if (layout.columns == kPackedColumns) return {d, d, least, 0};
  const uint8_t* const bytes = second + 2 * kPackedRows + b % 8 * kPackedRows + row;
  const float scale = d * static_cast<float>(bytes[0]);
  return {scale, scale, -least * static_cast<float>(bytes[8 * kPackedRows]), 0};
}

}  // namespace

HYPENET_VECTORIZED
void expand_packed_row(const PackedMatrix& m, int64_t row, float* y) {
  const uint8_t* const group = m.groups + row / kPackedRows * packed_group_bytes(m);
  const int place = static_cast<int>(row % kPackedRows);
  for (int64_t b = 0; b < packed_blocks(m.columns); ++b) {
    uint32_t words[kPackedColumns / 4];
    read_codes(m.kind, group + b * code_bytes(m.kind), place, words);
    uint8_t codes[kPackedColumns];
    std::memcpy(codes, words, sizeof codes);
    const RowScales scales = read_scales(m, group + scales_at(m), b, place);
    float numbers[kPackedColumns];
    for (int i = 0; i < kPackedColumns; ++i) {
      const float scale = i < kPackedColumns / 2 ? scales.first : scales.second;
      numbers[i] = static_cast<float>(codes[i] - scales.zero) * scale;
    }
    for (int i = 0; has_least(m.kind) && i < kPackedColumns; ++i) numbers[i] += scales.least;
    const int64_t first = b * kPackedColumns;
    std::copy_n(numbers, std::min(kPackedColumns, m.columns - first), y + first);
  }
}

}  // namespace hypenet::kernels
