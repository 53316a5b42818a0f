// What the kernels of packed weights share: reading a block's codes, asking for codes early, and
// writing outputs. For registers of L rows.
#pragma once

#include "kernels/cpu/packed_scales.h"

namespace hypenet::kernels {

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

/// Sets of scales of a block.
constexpr int halves_of(PackedKind kind) { return kind == PackedKind::kQ6K ? 2 : 1; }

/// sum += what a block's integers (of Q6_K those of each half) stand for.
template <int L, PackedKind kind>
HYPENET_INLINE void add_dots(const Integers<L>& dots, const Integers<L>& second_dots,
                             const Scales<L, kind>& scales, const RowBlock& row, Vector<L>& sum) {
  sum += __builtin_convertvector(dots, Vector<L>) * (scales.scale * row.scale);
  if constexpr (halves_of(kind) == 2) {
    sum += __builtin_convertvector(second_dots, Vector<L>) * (scales.second * row.scale);
  }
  if constexpr (has_least(kind)) sum += scales.least * row.sum;
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
  float numbers[L];  // a vector that is indexed would lie in memory from its first sum on
  store(sums, numbers);
  for (int64_t i = 0; i < count; ++i) {
    const float sum = numbers[i] + (p.bias == nullptr ? 0.0F : p.bias[first + i]);
    y[i] = p.adds ? y[i] + sum : sum;
  }
}

}  // namespace hypenet::kernels
