// What the kernels of RWKV-7's recurrence share: where a chunk's parts lie between them, and its
// tokens, faded to the beginning of their block of 16.
#pragma once

#include "kernels/cuda/delta_rule.cuh"
#include "kernels/cuda/dplr.h"

namespace hypenet::kernels::cuda {

/// Scratch memory, one piece of each array a chunk, chunks of a head side by side. With A_xy the
/// decayed scores of readers x and keys y, M = (I - A_ab)^-1 and W = M A_ak:
struct DplrScratch {
  // Bfloat16 [64, d]: M a e^G', b e^(G_C - G), k e^(G_C - G) + W^T (b e^(G_C - G)), and
  // r e^G + A_rb M a e^G'.
  char *readers, *writers, *keys, *queries;
  char* scores;   // A_rk + A_rb W, bfloat16 [64, 64], in blocks up to the diagonal
  float* across;  // e^(G_C) [d]
  // For the gradients: bfloat16 [64, 64], in such blocks, A_ab with M - I in those on the diagonal,
  // W and A_rb; S^T before the chunk, dS^T after it, bfloat16 [d, d].
  char *solver, *of_values, *of_reads;
  char *states, *dstates;
  int64_t chunks;  // of a head
  int64_t bytes;   // in all
};

/// What each kernel takes.
struct DplrWork {
  DplrParams p;
  DplrScratch scratch;
};
struct DplrBackwardWork {
  DplrBackwardParams p;
  DplrScratch scratch;
};

Status prepare_dplr(const DplrWork& work, bool is_backward, Stream stream);
/// The forward's chain or, for the gradients, the same without output, which leaves states.
Status chain_dplr(const DplrWork& work, bool leaves_states, Stream stream);
Status chain_dplr_backward(const DplrBackwardWork& work, Stream stream);
Status dplr_gradients(const DplrBackwardWork& work, Stream stream);

/// Bytes of shared memory that a block of each kernel takes at least.
int64_t prepare_dplr_bytes(int64_t size);
int64_t chain_dplr_bytes(int64_t size);
int64_t dplr_gradients_bytes(int64_t size);

/// Threads of a block that makes a chunk's tokens: a pair of channels of eight tokens a thread.
template <int kSize>
constexpr int kTokenThreads = 4 * kSize;
constexpr int kOwnTokens = 8, kTokenGroups = kChunk / kOwnTokens;

/// A thread's tokens and channels, and what its channels fade by. G is the sum of -decay from the
/// chunk's first token on.
template <int kSize>
struct TokenDecays {
  static constexpr int kPairs = kSize / 2;
  int channel, group;
  HeadTokens tokens;
  float2 sums[kOwnTokens];     // G, from the thread's first token on
  float2 start, block, total;  // G before that token and its block, and of the chunk

  __device__ __forceinline__ explicit TokenDecays(const HeadTokens& at)
      : channel(static_cast<int>(threadIdx.x) % kPairs * 2),
        group(static_cast<int>(threadIdx.x) / kPairs),
        tokens(at) {}

  __device__ __forceinline__ int row(int i) const { return kOwnTokens * group + i; }
  __device__ __forceinline__ int64_t place(int i) const {
    return (tokens.first + row(i) * tokens.stride) * kSize + channel;
  }

  /// Reads the decays; `parts` [kTokenGroups][kSize] in shared memory. By all threads of the block.
  __device__ __forceinline__ void read(const float* decay, float* parts) {
    float2 sum = {};
#pragma unroll
    for (int i = 0; i < kOwnTokens; ++i) {
      float2 own = {};
      if (row(i) < tokens.rows) own = *reinterpret_cast<const float2*>(decay + place(i));
      sum.x -= own.x, sum.y -= own.y;
      sums[i] = sum;
    }
    *reinterpret_cast<float2*>(parts + group * kSize + channel) = sum;
    __syncthreads();
    start = block = total = make_float2(0, 0);
#pragma unroll
    for (int other = 0; other < kTokenGroups; ++other) {
      const float2 part = *reinterpret_cast<const float2*>(parts + other * kSize + channel);
      if (other == (group & ~1)) block = total;
      if (other == group) start = total;
      total.x += part.x, total.y += part.y;
    }
  }

  /// G before each block and of the chunk into starts [5][kSize].
  __device__ __forceinline__ void write_starts(float* starts) const {
    if (group % 2 == 0) *reinterpret_cast<float2*>(starts + group / 2 * kSize + channel) = block;
    if (group == 0) *reinterpret_cast<float2*>(starts + 4 * kSize + channel) = total;
  }

  /// What is left at token i of what was there at its block's start; at -1 before the first token.
  __device__ __forceinline__ float2 kept(int i) const {
    const float2 own = i < 0 ? make_float2(0, 0) : sums[i < 0 ? 0 : i];
    return make_float2(__expf(start.x - block.x + own.x), __expf(start.y - block.y + own.y));
  }
};

/// Two numbers of a token, or zeros where there is none.
template <int kSize>
__device__ __forceinline__ uint32_t pair_at(const TokenDecays<kSize>& own, const void* from,
                                            int i) {
  if (own.row(i) >= own.tokens.rows) return 0;
  return *reinterpret_cast<const uint32_t*>(static_cast<const char*>(from) + 2 * own.place(i));
}

/// The place of a pair of channels in a swizzled tile of bfloat16.
template <int kSize>
__device__ __forceinline__ uint32_t pair_place(int row, int channel) {
  return swizzled<2 * kSize>(row, channel / 8) + channel % 8 * 2;
}

__device__ __forceinline__ float2 times(float2 x, float2 y) {
  return make_float2(x.x * y.x, x.y * y.y);
}
__device__ __forceinline__ float2 inverse_of(float2 x) {
  return make_float2(__fdividef(1.0F, x.x), __fdividef(1.0F, x.y));
}
__device__ __forceinline__ float2 exp_between(float2 later, float2 earlier) {
  return make_float2(__expf(later.x - earlier.x), __expf(later.y - earlier.y));
}

/// A left factor as the accumulators that it was made of.
__device__ __forceinline__ void widen(float (&c0)[4], float (&c1)[4], const uint32_t (&a)[4]) {
  const float2 x[4] = {pair_of(a[0]), pair_of(a[1]), pair_of(a[2]), pair_of(a[3])};
  c0[0] = x[0].x, c0[1] = x[0].y, c0[2] = x[1].x, c0[3] = x[1].y;
  c1[0] = x[2].x, c1[1] = x[2].y, c1[2] = x[3].x, c1[3] = x[3].y;
}

}  // namespace hypenet::kernels::cuda
