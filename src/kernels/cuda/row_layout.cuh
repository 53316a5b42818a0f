// How the threads of a block share out rows: short rows go to some or all lanes of a warp, long
// ones to a block; either way a row stays in registers between its reading and its writing.
#pragma once

#include "kernels/cuda/pack.cuh"

namespace hypenet::kernels::cuda {

/// A thread holds kPacks packs of kWidth elements; pack j of the thread at place `lane` of its team
/// is pack lane + j * team of the row.
template <class Element_, int kWidth_, int kPacks_, bool kBlockRow_>
struct RowLayout {
  using Element = Element_;
  static constexpr int kWidth = kWidth_, kPacks = kPacks_;
  static constexpr bool kBlockRow = kBlockRow_;               // a team is a block, else lanes
  static constexpr int kMaxThreads = kBlockRow_ ? 512 : 128;  // of a block

  /// Threads a row: a power of two up to 32, or whole warps.
  static int team(int64_t size) {
    const int64_t wanted = (size / kWidth + kPacks - 1) / kPacks;
    if (kBlockRow) return static_cast<int>((wanted + 31) / 32 * 32);
    int lanes = 1;
    while (lanes < wanted) lanes *= 2;
    return lanes;
  }
  static int threads(int64_t size) { return kBlockRow ? team(size) : kMaxThreads; }
  static int64_t rows_of_block(int64_t size) { return threads(size) / team(size); }
};

/// Calls launch(RowLayout) for rows of `size` <= 16384 elements of type T.
template <class T, class Launch>
auto with_row_layout(int64_t size, bool aligned, const Launch& launch) {
  constexpr int kWidth = 16 / sizeof(T);
  const int64_t packs = size / kWidth;
  if (!aligned || size % kWidth != 0) return launch(RowLayout<T, 1, 32, true>{});
  if (packs <= 2 * 32) return launch(RowLayout<T, kWidth, 2, false>{});
  if (packs <= 8 * 32) return launch(RowLayout<T, kWidth, 8, false>{});
  return launch(RowLayout<T, kWidth, 32 / kWidth, true>{});
}

/// The sum over the threads that share a row. With kBlockRow, `sums` is shared memory of 16 floats
/// that no thread still reads from the sum before.
template <bool kBlockRow>
__device__ __forceinline__ float row_sum(float x, int team, float* sums) {
  if (!kBlockRow) return lanes_sum(x, team);
  x = lanes_sum(x, 32);
  if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = x;
  __syncthreads();
  float total = 0;
  for (int warp = 0; warp < blockDim.x / 32; ++warp) total += sums[warp];
  return total;
}

}  // namespace hypenet::kernels::cuda
