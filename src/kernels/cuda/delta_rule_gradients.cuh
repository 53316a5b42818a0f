// What the gradients of the delta rule share for a decay per token and per channel: a block's
// shared memory, a warp's share of a chunk, and the gradients of its scores.
#pragma once

#include "kernels/cuda/delta_rule.cuh"

namespace hypenet::kernels::cuda {

constexpr int kParts = 4;  // shares of the channels
constexpr int kGradientThreads = 128 * kParts;

/// kSets: places for do, Z and U. With two a block asks for those of its next chunk early.
template <int kSize, bool kChannels, int kSets>
struct GradientGeometry {
  static constexpr int kTile = kChunk * kSize * 2;
  static constexpr int kSquare = kChunk * kChunk * 2;
  static constexpr int kMatrix = kSize * kSize * 2;
  static constexpr int kSumStride = kSize + 4;  // floats of a token's numbers per channel
  static constexpr int kFloats = kChunk * kSumStride * 4;
  static constexpr int kQueries = 0;
  static constexpr int kKeys = kTile;
  static constexpr int kStates = 2 * kTile;  // S^T, dS^T
  static constexpr int kDstates = kStates + kMatrix;
  static constexpr int kFirstSet = kDstates + kMatrix;
  static constexpr int kSet = 3 * kTile;
  static constexpr int kEnd = kFirstSet + kSets * kSet;
  // At the end, per channel, sums inside blocks of 16 take the place of states and set.
  static constexpr int kWithin = kStates;
  static constexpr int kWithinEnd = kWithin + (kChannels ? 3 * kFloats : 0);
  static constexpr int kTilesEnd = kEnd > kWithinEnd ? kEnd : kWithinEnd;
  // ScoreGradients take the place of do and Z once these were read, where they fit.
  static constexpr bool kFits = 4 * kSquare <= 2 * kTile;
  static constexpr int kSquaresAt = kTilesEnd;
  static constexpr int kSums = kTilesEnd + (kFits ? 0 : 4 * kSquare);  // G per channel
  static constexpr int kBlocks = kSums + (kChannels ? kFloats : 0);  // dP, Z U^T of 4 blocks of 16
  static constexpr int kFactorBytes = kFactors * kChunk * 4;
  static constexpr int kFactorsAt = kBlocks + (kChannels ? 4 * 16 * 16 * 8 : 0);
  static constexpr int kProductsAt = kFactorsAt + kSets * kFactorBytes;  // Z v of a token
  static constexpr int kPartsAt = kProductsAt + kChunk * 4;
  static constexpr int kShares =
      2 * kGradientThreads / kSize;  // of the states' rows, when compared
  static constexpr int kRowSums =
      kPartsAt + 4 * (kChannels ? (kShares + 4) * kSize : kGradientThreads / 32);
  static constexpr int kBytes = kRowSums + 4 * 4 * kParts * kChunk;  // four numbers of a token
};

/// A set's tiles, in their order.
enum SetTile { kDoutput, kDrows, kRows };

/// Numbers of a warp's 16 tokens and its channels.
template <int kSize>
struct ShareSums {
  float x[kSize / 8 / kParts][4];
};

struct Share {
  int lane, g, t, block, part;  // block of 16 tokens, share of the channels
  __device__ __forceinline__ int row(int i) const { return 16 * block + g + i / 2 * 8; }
};

template <int kSize>
__device__ __forceinline__ int channel_of(const Share& at, int tile) {
  return at.part * (kSize / kParts) + 8 * tile + 2 * at.t;
}

/// Two channels of a token out of a swizzled tile.
template <int kSize>
__device__ __forceinline__ float2 numbers_at(const char* tile, int row, int channel) {
  return pair_of(*reinterpret_cast<const uint32_t*>(tile + swizzled<2 * kSize>(row, channel / 8) +
                                                    channel % 8 * 2));
}

/// sums += a [16, kSize] b, with b stored as rows of kSize columns.
template <int kSize>
__device__ __forceinline__ void add_product(ShareSums<kSize>& sums, const uint32_t (&a)[4],
                                            uint32_t tile, const Share& at, int k) {
#pragma unroll
  for (int pair = 0; pair < kSize / 16 / kParts; ++pair) {
    uint32_t b[4];
    right_by_columns<kSize>(b, tile, at.part * (kSize / 16 / kParts) + pair, k);
    multiply_pair(sums.x[2 * pair], sums.x[2 * pair + 1], a, b);
  }
}

/// dP = scale do U^T (j <= i) and Z U^T (j < i) of a warp's 16 tokens and its share of the keys,
/// decayed where the decay is a token's. They are rounded to a sum of two bfloat16 numbers: what a
/// token gets as reader and gives as key must cancel in the decay's gradient.
constexpr int kKeys = kChunk / 8 / kParts;  // in eights
struct ScoreGradients {
  float dscores[kKeys][4], dlower[kKeys][4];
};
enum Square { kHigh, kLow, kLowerHigh, kLowerLow };

template <int kSize, bool kChannels>
__device__ __forceinline__ void make_scores(ScoreGradients& scores,
                                            const DeltaRuleBackwardWork& work, uint32_t set,
                                            float2* blocks, const float* factors, const Share& at) {
  using G = GradientGeometry<kSize, kChannels, 1>;
#pragma unroll
  for (int tile = 0; tile < kKeys; ++tile) {
#pragma unroll
    for (int i = 0; i < 4; ++i) scores.dscores[tile][i] = scores.dlower[tile][i] = 0;
  }
#pragma unroll
  for (int d = 0; d < kSize / 16; ++d) {
    uint32_t a[4], z[4], b[4];
    left_of<kSize>(a, set + kDoutput * G::kTile, at.block, d);
    left_of<kSize>(z, set + kDrows * G::kTile, at.block, d);
#pragma unroll
    for (int pair = 0; pair < kKeys / 2; ++pair) {
      if (at.part * (kKeys / 2) + pair > at.block) continue;
      right_by_rows<kSize>(b, set + kRows * G::kTile, at.part * (kKeys / 2) + pair, d);
      multiply_pair(scores.dscores[2 * pair], scores.dscores[2 * pair + 1], a, b);
      multiply_pair(scores.dlower[2 * pair], scores.dlower[2 * pair + 1], z, b);
    }
  }
#pragma unroll
  for (int tile = 0; tile < kKeys; ++tile) {
    const int keys = kKeys * at.part + tile;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int row = at.row(i), column = 8 * keys + 2 * at.t + i % 2;
      float kept = column <= row ? 1.0F : 0.0F;
      if (!kChannels && column <= row) {
        kept = __expf(factors[kSum * kChunk + row] - factors[kSum * kChunk + column]);
      }
      scores.dscores[tile][i] *= kept * work.p.forward.scale;
      scores.dlower[tile][i] *= column < row ? kept : 0.0F;
      if (kChannels && keys / 2 == at.block) {
        const int place = (at.block * 16 + row % 16) * 16 + column % 16;
        blocks[place] = make_float2(scores.dscores[tile][i], scores.dlower[tile][i]);
      }
    }
  }
}

__device__ __forceinline__ void store_scores(char* squares, const ScoreGradients& scores,
                                             const Share& at) {
  constexpr int kSquare = kChunk * kChunk * 2;
#pragma unroll
  for (int tile = 0; tile < kKeys; ++tile) {
    const int keys = kKeys * at.part + tile;
    if (keys / 2 > at.block) continue;
#pragma unroll
    for (int i = 0; i < 4; i += 2) {
      char* const to = squares + swizzled<2 * kChunk>(at.row(i), keys) + 4 * at.t;
      const auto put = [&](int square, const float* x) {
        uint32_t high, low;
        split_pair(high, low, x[0], x[1]);
        *reinterpret_cast<uint32_t*>(to + square * kSquare) = high;
        *reinterpret_cast<uint32_t*>(to + (square + 1) * kSquare) = low;
      };
      put(kHigh, scores.dscores[tile] + i);
      put(kLowerHigh, scores.dlower[tile] + i);
    }
  }
}

/// Left factors out of the four squares: dP and Z U^T of a block's readers with block j's keys, or
/// transposed, of a block's keys with block j's readers and -beta of these.
struct ScoreFactors {
  uint32_t a[4][4];

  __device__ __forceinline__ void get(uint32_t squares, int block, int j) {
#pragma unroll
    for (int square = 0; square < 4; ++square) {
      left_of<kChunk>(a[square], squares + square * (2 * kChunk * kChunk), block, j);
    }
  }
  __device__ __forceinline__ void get_transposed(uint32_t squares, int block, int j,
                                                 const float* beta, int t) {
#pragma unroll
    for (int square = 0; square < 4; ++square) {
      left_transposed<kChunk>(a[square], squares + square * (2 * kChunk * kChunk), block, j);
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int reader = 16 * j + i / 2 * 8 + 2 * t;
      const float2 high = pair_of(a[kLowerHigh][i]), low = pair_of(a[kLowerLow][i]);
      split_pair(a[kLowerHigh][i], a[kLowerLow][i], -beta[reader] * (high.x + low.x),
                 -beta[reader + 1] * (high.y + low.y));
    }
  }
};

/// Calls visit(tile, first element of the pair, row, channel) for the pairs of a thread's sums.
template <int kSize, class Visit>
__device__ __forceinline__ void for_each_pair(const Share& at, const Visit& visit) {
#pragma unroll
  for (int tile = 0; tile < kSize / 8 / kParts; ++tile) {
#pragma unroll
    for (int i = 0; i < 4; i += 2) visit(tile, i, at.row(i), channel_of<kSize>(at, tile));
  }
}

__device__ __forceinline__ void scale_by(float* x, float2 factor) {
  x[0] *= factor.x, x[1] *= factor.y;
}

__device__ __forceinline__ float2 kept_between(float2 later, float2 earlier) {
  return make_float2(__expf(later.x - earlier.x), __expf(later.y - earlier.y));
}

/// Rows of a warp's sums to a tensor's tokens, rounded.
template <int kSize>
__device__ __forceinline__ void store_rows(void* tensor, const ShareSums<kSize>& sums,
                                           const HeadTokens& tokens, const Share& at) {
#pragma unroll
  for (int i = 0; i < 4; i += 2) {
    const int row = at.row(i);
    const bool valid = row < tokens.rows;
    char* const to =
        static_cast<char*>(tensor) +
        ((tokens.first + (valid ? row : 0) * tokens.stride) * kSize + at.part * (kSize / kParts)) *
            2;
#pragma unroll
    for (int pair = 0; pair < kSize / 16 / kParts; ++pair) {
      const auto &low = sums.x[2 * pair], &high = sums.x[2 * pair + 1];
      store_halves(to + 32 * pair, pack(low[i], low[i + 1]), pack(high[i], high[i + 1]), valid);
    }
  }
}

/// A number of each of a warp's 16 rows, summed over its channels, to `sums` [kParts, 64].
__device__ __forceinline__ void store_row_sums(float* sums, float (&x)[2], const Share& at) {
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    x[i] += __shfl_xor_sync(~0U, x[i], 1);
    x[i] += __shfl_xor_sync(~0U, x[i], 2);
    if (at.t == 0) sums[at.part * kChunk + at.row(2 * i)] = x[i];
  }
}

__device__ __forceinline__ float sum_of_parts(const float* row_sums) {
  float sum = 0;
#pragma unroll
  for (int part = 0; part < kParts; ++part) sum += row_sums[part * kChunk];
  return sum;
}

}  // namespace hypenet::kernels::cuda
