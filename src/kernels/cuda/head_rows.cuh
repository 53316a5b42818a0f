// How blocks share out rows of heads whose channels have parameters: a thread keeps its channels
// for all rows that it meets, so that parameters stay near and their gradients in registers.
#pragma once

#include <algorithm>

#include "kernels/cuda/pack.cuh"
#include "kernels/cuda/resident.cuh"

namespace hypenet::kernels::cuda {

constexpr int kHeadRowThreads = 256;  // of a block, at most

/// A head of d numbers is read by kTeam neighbouring lanes, kWidth numbers each.
template <class Element_, int d_, int kWidth_>
struct HeadRows {
  using Element = Element_;
  static constexpr int d = d_, kWidth = kWidth_, kTeam = d / kWidth;

  /// The sum over a head; all lanes of a warp take part.
  static __device__ __forceinline__ float sum(float x) { return lanes_sum(x, kTeam); }
};

/// Calls call(HeadRows), a lane's numbers being `kBytes` bytes of bfloat16, or 16 of float32.
template <int kBytes, class Call>
auto with_head_rows(DType type, int64_t size, const Call& call) {
  using Half = __nv_bfloat16;
  if (type == DType::kBFloat16) {
    return size == 128 ? call(HeadRows<Half, 128, kBytes / 2>{})
                       : call(HeadRows<Half, 64, kBytes / 2>{});
  }
  return size == 128 ? call(HeadRows<float, 128, 4>{}) : call(HeadRows<float, 64, 4>{});
}

/// The grid for rows of `heads` heads: x takes rows in turn, y takes heads.
struct HeadGrid {
  int heads, rows, threads;  // of a block
  dim3 blocks;
};

/// `group` neighbouring heads stay in one block.
template <class Layout, class Kernel>
HeadGrid head_grid(Kernel kernel, int64_t rows, int64_t heads, int64_t group, size_t shared_bytes) {
  const int64_t most = std::max<int64_t>(kHeadRowThreads / Layout::kTeam / group * group, group);
  HeadGrid grid{};
  grid.heads = static_cast<int>(std::min(heads, most));
  const int of_row = grid.heads * Layout::kTeam;
  grid.rows = std::max(1, kHeadRowThreads / of_row);
  grid.threads = (grid.rows * of_row + 31) / 32 * 32;
  const int64_t columns = (heads + grid.heads - 1) / grid.heads;
  const int64_t wanted = (rows + grid.rows - 1) / grid.rows;
  const int64_t resident = resident_blocks(kernel, grid.threads, shared_bytes, wanted * columns);
  grid.blocks =
      dim3(static_cast<unsigned>(std::max<int64_t>(1, std::min(wanted, resident / columns))),
           static_cast<unsigned>(columns));
  return grid;
}

/// A thread's place in such a grid.
struct HeadPlace {
  int row;       // of the block's rows at once
  int lane;      // of the head's team
  int of_block;  // its head among the block's
  int64_t head;
  bool is_used;

  __device__ HeadPlace(const int heads, const int rows, int team, int64_t all) {
    const int of_row = heads * team, place = static_cast<int>(threadIdx.x) % of_row;
    row = static_cast<int>(threadIdx.x) / of_row;
    lane = place % team, of_block = place / team;
    head = static_cast<int64_t>(blockIdx.y) * heads + of_block;
    is_used = row < rows && head < all;
  }
};

/// Adds up what the rows of a block hold for a head's channels, in a fixed order, and writes the
/// block's part [all heads, d]. `shared` [heads of a block, d]. All threads of the block call it.
template <int kWidth>
__device__ void write_head_part(const float (&sums)[kWidth], const HeadPlace& place, int rows,
                                int64_t heads, int d, float* shared, float* parts) {
  if (parts == nullptr) return;
  for (int turn = 0; turn < rows; ++turn) {
    __syncthreads();
    if (turn != place.row || !place.is_used) continue;
    float* const own = shared + place.of_block * d + place.lane * kWidth;
#pragma unroll
    for (int i = 0; i < kWidth; ++i) own[i] = turn == 0 ? sums[i] : own[i] + sums[i];
    if (turn + 1 < rows) continue;
    float* const part =
        parts + (static_cast<int64_t>(blockIdx.x) * heads + place.head) * d + place.lane * kWidth;
#pragma unroll
    for (int i = 0; i < kWidth; ++i) part[i] = own[i];
  }
}

/// Numbers kWidth * index .. of an array of floats: parameters.
template <int kWidth>
__device__ __forceinline__ void load_parameters(const float* array, int64_t index,
                                                float (&x)[kWidth]) {
  load_floats(array, DType::kFloat32, index, x);
}

}  // namespace hypenet::kernels::cuda
