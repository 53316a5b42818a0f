// What the chains of the delta rule share, forward and backward: the stages of a block's shared
// memory, and how the warps that own the same columns tell each other their parts.
#pragma once

#include "kernels/cuda/delta_rule.cuh"

namespace hypenet::kernels::cuda {

/// kRows groups of kSplit warps. A group owns 16 columns of the state; its warps share tokens and
/// channels of every product.
template <int kSize, bool kChannels, bool kLeaves, int kRows, int kSplit>
struct Geometry {
  static constexpr int kThreads = 32 * kRows * kSplit;
  static constexpr int kColumns = 16 * kRows;
  static constexpr int kTile = kChunk * kSize * 2;
  static constexpr int kSquare = kChunk * kChunk * 2;
  static constexpr int kValueRow = 2 * kColumns + 16;
  // A stage.
  static constexpr int kKeys = 0;
  static constexpr int kQueries = kKeys + kTile;
  static constexpr int kTails = kQueries + (kLeaves ? 0 : kTile);
  static constexpr int kInverse = kTails + (kChannels ? kTile : 0);
  static constexpr int kScores = kInverse + kSquare;
  static constexpr int kValues = kScores + (kLeaves ? 0 : kSquare);
  static constexpr int kFactorsAt = kValues + kChunk * kValueRow;
  static constexpr int kFactorFloats = kFactors * kChunk + (kChannels ? kSize : 0);
  static constexpr int kStage = (kFactorsAt + 4 * kFactorFloats + 127) / 128 * 128;
  // What the warps of a group tell each other: factors of 16 channels or tokens, 16 bytes a lane.
  static constexpr int kStateParts = kSize / 16, kTokenParts = kChunk / 16;
  static constexpr int kTold = kSplit == 1 ? 0 : kRows * (kStateParts + 3 * kTokenParts) * 512;
  static constexpr int kOwnTokens = kTokenParts / kSplit, kOwnChannels = kStateParts / kSplit;

  static constexpr int bytes(int stages) { return stages * kStage + kTold; }
};

/// The barrier of a group of warps.
template <int kSplit>
__device__ __forceinline__ void meet(int group) {
  if constexpr (kSplit > 1) {
    asm volatile("bar.sync %0, %1;" ::"r"(group + 1), "n"(32 * kSplit) : "memory");
  }
}

/// Waits for the oldest of the stages that were asked for; the one before it is free for all.
__device__ __forceinline__ void wait_for_stage(int stages) {
  if (stages == 3) {
    wait_copies<1>();
  } else {
    wait_copies<0>();
  }
  __syncthreads();
}

/// A factor that the warps of a group hold in parts: own parts in registers, all in shared memory.
template <int kParts, int kSplit>
struct Told {
  uint32_t own[kParts / kSplit][4];
  uint4* all;  // [kParts][32]

  __device__ __forceinline__ void tell(int part) {
    if constexpr (kSplit > 1) {
#pragma unroll
      for (int i = 0; i < kParts / kSplit; ++i) {
        all[(part * (kParts / kSplit) + i) * 32 + threadIdx.x % 32] =
            make_uint4(own[i][0], own[i][1], own[i][2], own[i][3]);
      }
    }
  }
  __device__ __forceinline__ void get(uint32_t (&a)[4], int i) const {
    if constexpr (kSplit > 1) {
      const uint4 x = all[i * 32 + threadIdx.x % 32];
      a[0] = x.x, a[1] = x.y, a[2] = x.z, a[3] = x.w;
    } else {
      a[0] = own[i][0], a[1] = own[i][1], a[2] = own[i][2], a[3] = own[i][3];
    }
  }
};

/// Asks for what a chunk needs, columns first_column .. of `values` (v, or do in the backward). A
/// chunk that is not there is an empty group of copies.
template <class G, int kSize, bool kChannels, bool kLeaves>
__device__ __forceinline__ void ask_chunk(const DeltaRuleWork& work, uint32_t stage, int64_t head,
                                          int64_t chunk, const void* values, int first_column) {
  if (chunk >= 0 && chunk < work.scratch.chunks) {
    const int64_t piece = head * work.scratch.chunks + chunk;
    const HeadTokens at = tokens_of(work.p, head, chunk);
    const int64_t stride = at.stride * kSize * 2, first = at.first * kSize * 2;
    constexpr int kThreads = G::kThreads;
    if constexpr (kChannels) {
      const int64_t from = piece * G::kTile;
      ask_tile<kSize, kThreads>(stage + G::kKeys, work.scratch.keys + from, 2 * kSize, kChunk);
      ask_tile<kSize, kThreads>(stage + G::kTails, work.scratch.tails + from, 2 * kSize, kChunk);
      if constexpr (!kLeaves) {
        ask_tile<kSize, kThreads>(stage + G::kQueries, work.scratch.queries + from, 2 * kSize,
                                  kChunk);
      }
      ask_floats<kSize, kThreads>(stage + G::kFactorsAt + 4 * kFactors * kChunk,
                                  work.scratch.across + piece * kSize);
    } else {
      ask_tile<kSize, kThreads>(stage + G::kKeys, static_cast<const char*>(work.p.k) + first,
                                stride, at.rows);
      if constexpr (!kLeaves) {
        ask_tile<kSize, kThreads>(stage + G::kQueries, static_cast<const char*>(work.p.q) + first,
                                  stride, at.rows);
      }
    }
    ask_padded<G::kColumns, kThreads>(stage + G::kValues,
                                      static_cast<const char*>(values) + first + 2 * first_column,
                                      stride, at.rows);
    ask_tile<kChunk, kThreads>(stage + G::kInverse, work.scratch.inverse + piece * G::kSquare,
                               2 * kChunk, kChunk);
    if constexpr (!kLeaves) {
      ask_tile<kChunk, kThreads>(stage + G::kScores, work.scratch.scores + piece * G::kSquare,
                                 2 * kChunk, kChunk);
    }
    ask_floats<kFactors * kChunk, kThreads>(stage + G::kFactorsAt,
                                            work.scratch.factors + piece * (kFactors * kChunk));
  }
  commit_copies();
}

/// Calls visit(element, row of the state (k), column (v)) for what this thread holds of S^T.
template <int kTiles, class Visit>
__device__ __forceinline__ void for_each_element(float (&state)[kTiles][4], int first_row,
                                                 int first_column, const Visit& visit) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int n = 0; n < kTiles; ++n) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      visit(state[n][i], first_row + 8 * n + lane % 4 * 2 + i % 2,
            first_column + lane / 4 + i / 2 * 8);
    }
  }
}

/// Two tokens' factors on their tile.
__device__ __forceinline__ void scale_pairs(float (&x)[4], float2 factor) {
  x[0] *= factor.x, x[1] *= factor.y, x[2] *= factor.x, x[3] *= factor.y;
}

/// A warp's part of a state times what is left of it after the chunk.
template <bool kChannels, int kTiles>
__device__ __forceinline__ void fade_part(float (&state)[kTiles][4], const float* factors,
                                          int first_channel) {
#pragma unroll
  for (int n = 0; n < kTiles; ++n) {
    float2 across;
    if constexpr (kChannels) {
      across = *reinterpret_cast<const float2*>(factors + kFactors * kChunk + first_channel +
                                                8 * n + threadIdx.x % 4 * 2);
    } else {
      across.x = across.y = factors[kGate * kChunk + kChunk - 1];
    }
    scale_pairs(state[n], across);
  }
}

/// A warp's part of a rounded state to a chunk's piece [columns, channels].
template <int kSize, int kCount>
__device__ __forceinline__ void store_part(char* piece, const uint32_t (&own)[kCount][4],
                                           int column, int first_channel) {
  char* const to = piece + 2 * first_channel;
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    char* const row = to + (column + lane / 4) * (2 * kSize) + 32 * i;
    store_halves(row, own[i][0], own[i][2], true);
    store_halves(row + 8 * (2 * kSize), own[i][1], own[i][3], true);
  }
}

/// sums += x M^T or x P^T for the warp's tokens, which have what is up to them.
template <class G, class Factor>
__device__ __forceinline__ void add_up_to(float (&sums)[2 * G::kOwnTokens][4], const Factor& x,
                                          uint32_t square, int part) {
#pragma unroll
  for (int j = 0; j < kChunk / 16; ++j) {
    uint32_t a[4], b[4];
    x.get(a, j);
#pragma unroll
    for (int i = 0; i < G::kOwnTokens; ++i) {
      const int block = part * G::kOwnTokens + i;
      if (block < j) continue;
      right_by_rows<kChunk>(b, square, block, j);
      multiply_pair(sums[2 * i], sums[2 * i + 1], a, b);
    }
  }
}

/// sums += x M or x P for the warp's tokens, which have what is from them on. `get` is as Told's.
template <class G, class Get>
__device__ __forceinline__ void add_from(float (&sums)[2 * G::kOwnTokens][4], const Get& get,
                                         uint32_t square, int part) {
#pragma unroll
  for (int j = 0; j < kChunk / 16; ++j) {
    uint32_t a[4], b[4];
    get(a, j);
#pragma unroll
    for (int i = 0; i < G::kOwnTokens; ++i) {
      const int block = part * G::kOwnTokens + i;
      if (j < block) continue;
      right_by_columns<kChunk>(b, square, block, j);
      multiply_pair(sums[2 * i], sums[2 * i + 1], a, b);
    }
  }
}

}  // namespace hypenet::kernels::cuda
