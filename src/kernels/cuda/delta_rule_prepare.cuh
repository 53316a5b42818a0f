// What the two kernels that prepare chunks share, one for a decay per token and
// one for a decay per channel: a block of four warps takes a chunk, a warp 16
// readers.
#pragma once

#include "kernels/cuda/delta_rule.cuh"
#include "kernels/cuda/delta_rule_solve.cuh"

namespace hypenet::kernels::cuda {

constexpr int kPrepareThreads = 128;

template <int kSize, bool kChannels>
struct PrepareGeometry {
  static constexpr int kTile = kChunk * kSize * 2;
  static constexpr int kLower = kChunk * kLowerStride * 4;
  static constexpr int kScoreRow = 2 * kChunk + 16;  // bytes of a row of scores on their way out
  static constexpr int kScores = kLower;
  static constexpr int kScoresEnd = kLower + kChunk * kScoreRow;
  // q and k, whose place L and the scores take; then G per channel, and
  // factors.
  static constexpr int kSums = 2 * kTile > kScoresEnd ? 2 * kTile : kScoresEnd;
  static constexpr int kSumStride = kSize + 4;  // floats of a token's G per channel
  static constexpr int kFactorsAt = kSums + (kChannels ? kChunk * kSumStride * 4 : 0);
  static constexpr int kBytes = kFactorsAt + (kChannels ? 1 : kFactors) * kChunk * 4;
};

struct Chunk {
  int64_t piece;  // of the scratch arrays
  HeadTokens tokens;
};

__device__ __forceinline__ Chunk chunk_of_block(const DeltaRuleWork &work) {
  const int64_t head = blockIdx.x, chunk = blockIdx.y;
  return {head * work.scratch.chunks + chunk, tokens_of(work.p, head, chunk)};
}

/// Sums of a warp's 16 queries and keys, as readers, with all keys: tiles of 8.
struct Scores {
  float q[kChunk / 8][4], k[kChunk / 8][4];

  __device__ __forceinline__ Scores() {
#pragma unroll
    for (int tile = 0; tile < kChunk / 8; ++tile) {
#pragma unroll
      for (int i = 0; i < 4; ++i) q[tile][i] = k[tile][i] = 0;
    }
  }
};

struct Place {
  int lane, warp, g, t;
  __device__ __forceinline__ Place()
      : lane(threadIdx.x % 32), warp(threadIdx.x / 32), g(lane / 4), t(lane % 4) {}

  /// Row and column of element i of a warp's tile.
  __device__ __forceinline__ int row(int i) const { return 16 * warp + g + i / 2 * 8; }
  __device__ __forceinline__ int column(int tile, int i) const { return 8 * tile + 2 * t + i % 2; }
};

/// Pairs of scores and of L to their places in shared memory.
template <class G>
struct Writer {
  char *const shared;
  const float *const beta;
  const float scale;

  __device__ __forceinline__ void score(int row, int column, float x, float y) const {
    *reinterpret_cast<uint32_t *>(shared + G::kScores + row * G::kScoreRow + 2 * column) =
        pack(x * scale, y * scale);
  }
  __device__ __forceinline__ void lower(int row, int column, float x, float y) const {
    *reinterpret_cast<float2 *>(shared + (row * kLowerStride + column) * 4) =
        make_float2(x * beta[row], y * beta[row]);
  }
  /// A warp's rows, with zeros in the scores after its own block.
  __device__ __forceinline__ void rows(const Scores &sums, const Place &at) const {
#pragma unroll
    for (int tile = 0; tile < kChunk / 8; ++tile) {
#pragma unroll
      for (int i = 0; i < 4; i += 2) {
        const int row = at.row(i), column = at.column(tile, i);
        score(row, column, sums.q[tile][i], sums.q[tile][i + 1]);
        if (tile / 2 <= at.warp) lower(row, column, sums.k[tile][i], sums.k[tile][i + 1]);
      }
    }
  }
};

/// After all of a chunk's scores and L are written: both to memory, L as its
/// inverse.
template <class G>
__device__ __forceinline__ void finish(const DeltaRuleWork &work, const Chunk &chunk,
                                       char *shared) {
  __syncthreads();
  const int64_t at = chunk.piece * (2 * kChunk * kChunk);
#pragma unroll
  for (int i = 0; i < kChunk * 8; i += kPrepareThreads) {
    const int row = (i + threadIdx.x) / 8, piece = threadIdx.x % 8;
    *reinterpret_cast<uint4 *>(work.scratch.scores + at + row * (2 * kChunk) + 16 * piece) =
        *reinterpret_cast<const uint4 *>(shared + G::kScores + row * G::kScoreRow + 16 * piece);
  }
  invert_unit_lower(reinterpret_cast<float *>(shared), work.scratch.inverse + at);
}

template <int kSize>
__device__ __forceinline__ void ask_inputs(const DeltaRuleParams &p, const HeadTokens &at,
                                           uint32_t q, uint32_t k) {
  const int64_t stride = at.stride * kSize * 2, first = at.first * kSize * 2;
  ask_tile<kSize, kPrepareThreads>(q, static_cast<const char *>(p.q) + first, stride, at.rows);
  ask_tile<kSize, kPrepareThreads>(k, static_cast<const char *>(p.k) + first, stride, at.rows);
}

template <class Kernel>
Status launch_prepare(Kernel kernel, int bytes, const DeltaRuleWork &work, Stream stream) {
  const cudaError_t error =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
  if (error != cudaSuccess) return status_of(error);
  // Heads of the same tokens side by side: their rows are neighbours in memory.
  const dim3 blocks(static_cast<unsigned>(work.p.batch * work.p.heads),
                    static_cast<unsigned>(work.scratch.chunks));
  kernel<<<blocks, kPrepareThreads, bytes, cuda_stream(stream)>>>(work);
  return launch_status();
}

}  // namespace hypenet::kernels::cuda
