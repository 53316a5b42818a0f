// The blocks that share a row of logits when tokens are chosen, and the part that each of them
// holds.
#pragma once

#include <cooperative_groups.h>

#include <cstdint>

namespace hypenet::kernels::cuda {

constexpr int kThreads = 512;
constexpr int kWarps = kThreads / 32;

/// kBlocks is one, or a whole cluster: then they read each other's shared memory.
template <int kBlocks>
struct Team {
  /// Also a barrier of each block; what any of them wrote to shared memory is seen by all.
  static __device__ __forceinline__ void wait() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    if constexpr (kBlocks > 1) {
      cooperative_groups::this_cluster().sync();
      return;
    }
#endif
    __syncthreads();
  }
  /// The variable in shared memory that block number `rank` calls so.
  template <class T>
  static __device__ __forceinline__ const T& of_block(const T& own, int rank) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    if constexpr (kBlocks > 1) {
      return *cooperative_groups::this_cluster().map_shared_rank(&own, rank);
    }
#endif
    return own;
  }
};

/// Tokens of a row that each of `blocks` blocks holds: whole words of the bitmap.
__host__ __device__ constexpr int64_t slice_tokens(int64_t vocabulary, int blocks) {
  return (vocabulary + 32 * blocks - 1) / (32 * blocks) * 32;
}

/// A block's part of a row: tokens begin .. begin + count - 1.
struct Slice {
  int begin, count;
  uint32_t* held;  // [count] words of the block: first changed logits, then keys
};

}  // namespace hypenet::kernels::cuda
