// What the forms of `linear` share: how weights are cut, and where a tile's sums go.
#pragma once

#include <cstdint>

#include "kernels/cpu/bfloat16.h"
#include "kernels/cpu/lanes.h"
#include "kernels/linear.h"

namespace hypenet::kernels {

constexpr int kTile = 4;                     // outputs of a tile
constexpr int64_t kAhead = 6144;             // bytes: how early weights are asked for
constexpr int64_t kPanelBytes = 384 * 1024;  // of weights: stay in L2 while all rows meet them

/// Outputs of a panel.
template <class W>
HYPENET_INLINE int64_t panel_of(int64_t size) {
  const int64_t row_bytes = size * static_cast<int64_t>(sizeof(W));
  return (kPanelBytes / row_bytes / kTile + 1) * kTile;
}

template <class X>
HYPENET_INLINE const X* packed_row(const LinearParams& p, int64_t row) {
  return static_cast<const X*>(p.x) + row * packed_size(p.size);
}

/// Of the outputs o .. o + 3, or up to `end`: rows beyond the end are the last one again.
template <class W>
struct TileWeights {
  HYPENET_INLINE TileWeights(const LinearParams& p, int64_t o, int64_t end)
      : first(o), count(end - o < kTile ? static_cast<int>(end - o) : kTile) {
    const W* const weight = static_cast<const W*>(p.weight);
    const W* const bias = static_cast<const W*>(p.bias);
    for (int c = 0; c < kTile; ++c) rows[c] = weight + (o + (c < count ? c : count - 1)) * p.size;
    for (int c = 0; bias != nullptr && c < count; ++c) biases[c] = wide(bias[o + c]);
    next = rows[0] + kTile * p.size + kAhead / sizeof(W);
  }

  /// A row's outputs become these products and the biases, or are added to.
  HYPENET_INLINE void put(const LinearParams& p, int64_t row, const Quad& products) const {
    float* const y = p.y + row * p.y_row + first;
    const Quad sums = products + biases;
    if (count == kTile) {
      Quad four = {};
      if (p.adds) load(y, four);
      store(four + sums, y);
    } else {
      for (int c = 0; c < count; ++c) y[c] = p.adds ? y[c] + sums[c] : sums[c];
    }
  }

  const W *rows[kTile], *next;  // next: what is asked for meanwhile
  Quad biases = {};
  int64_t first;
  int count;
};

}  // namespace hypenet::kernels
