// What the gradients of RWKV-7's recurrence share: a block's shared memory, which tokens and
// channels are a warp's, and its sums.
#pragma once

#include "kernels/cuda/dplr.cuh"

namespace hypenet::kernels::cuda {

template <int kSize>
struct DplrGradientGeometry {
  static constexpr int kThreads = kTokenThreads<kSize>;
  static constexpr int kParts = kSize / 32;  // shares of the channels
  static constexpr int kTile = kChunk * kSize * 2, kSquare = kChunk * kChunk * 2;
  static constexpr int kMatrix = kSize * kSize * 2;
  static constexpr int kReaders = 0, kWriters = kTile, kKeys = 2 * kTile;
  static constexpr int kSolver = 3 * kTile;
  static constexpr int kOfValues = kSolver + kSquare;
  static constexpr int kOfReads = kOfValues + kSquare;
  static constexpr int kScores = kOfReads + kSquare;
  static constexpr int kStates = kScores + kSquare;  // S^T, dS^T
  static constexpr int kDstates = kStates + kMatrix;
  static constexpr int kRight = kDstates + kMatrix;  // v, Y
  static constexpr int kLeft = kRight + 2 * kTile;   // dO, Z
  static constexpr int kTilesEnd = kLeft + 2 * kTile;
  // Later: the gradients of the scores, sums of two squares each, in the place of all but dS, v, Y,
  // dO and Z; tokens at their block's start (a, r, b, k) in the place of these; and at last floats
  // of each token's channels in the place of those gradients.
  static constexpr int kDscores = 0;
  static_assert(kDscores + 8 * kSquare <= kDstates);
  static constexpr int kAtBlock = kRight;
  static constexpr int kKept = 0, kSums = 2 * kTile, kOfA = 4 * kTile;
  static_assert(6 * kTile <= kRight);
  static constexpr int kStarts = kTilesEnd;
  static constexpr int kDecayParts = kStarts + 5 * kSize * 4;
  static constexpr int kStateParts = kDecayParts + kTokenGroups * kSize * 4;
  static constexpr int kTails = kStateParts + kTokenGroups * kSize * 4;
  static constexpr int kBytes = kTails + 4 * kSize * 4;
};

/// The place of a pair of a token's floats in a table [64][kSize].
template <int kSize>
__device__ __forceinline__ int float_pair(int row, int channel) {
  return row * kSize + ((channel / 2) ^ (row % 8 * 4)) * 2;
}

/// Which tokens and channels are a warp's.
struct DplrOwn {
  int lane, g, t, block, part;
  __device__ __forceinline__ DplrOwn()
      : lane(threadIdx.x % 32),
        g(lane / 4),
        t(lane % 4),
        block(threadIdx.x / 32 % 4),
        part(threadIdx.x / 128) {}
  __device__ __forceinline__ int row(int half) const { return 16 * block + g + 8 * half; }
  __device__ __forceinline__ int channel(int tile) const { return 32 * part + 8 * tile + 2 * t; }
};

/// Numbers of a warp's tokens and channels.
struct DplrSums {
  float x[4][4] = {};

  /// x += a [16, 16] times 16 rows of a tile.
  template <int kSize>
  __device__ __forceinline__ void add(const uint32_t (&a)[4], uint32_t tile, const DplrOwn& at,
                                      int k) {
#pragma unroll
    for (int pair = 0; pair < 2; ++pair) {
      uint32_t b[4];
      right_by_columns<kSize>(b, tile, 2 * at.part + pair, k);
      multiply_pair(x[2 * pair], x[2 * pair + 1], a, b);
    }
  }
  __device__ __forceinline__ void scale(const float2 (&by)[4]) {
#pragma unroll
    for (int n = 0; n < 4; ++n) {
      x[n][0] *= by[n].x, x[n][1] *= by[n].y, x[n][2] *= by[n].x, x[n][3] *= by[n].y;
    }
  }
};

/// What is left between the starts of two blocks, of a warp's channels.
template <int kSize>
__device__ __forceinline__ void kept_between(float2 (&kept)[4], const char* shared, int later,
                                             int earlier, const DplrOwn& at) {
  const float* const starts =
      reinterpret_cast<const float*>(shared + DplrGradientGeometry<kSize>::kStarts);
#pragma unroll
  for (int n = 0; n < 4; ++n) {
    const auto start = [&](int block) {
      return *reinterpret_cast<const float2*>(starts + block * kSize + at.channel(n));
    };
    kept[n] = exp_between(start(later), start(earlier));
  }
}

}  // namespace hypenet::kernels::cuda
