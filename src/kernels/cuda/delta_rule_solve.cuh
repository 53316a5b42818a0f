// The inverse of a chunk's unit lower triangular matrix: blocks of 16 on the diagonal in float32,
// those below them by products of factors that are sums of two bfloat16 numbers.
#pragma once

#include "kernels/cuda/delta_rule.cuh"

namespace hypenet::kernels::cuda {

constexpr int kLowerStride = 72;  // floats of a row of L: pairs of eight rows meet all banks

/// A left factor [16, 16] as the sum of two.
struct SplitFactor {
  uint32_t high[4], low[4];

  __device__ __forceinline__ void set(const float (&c0)[4], const float (&c1)[4]) {
    split_pair(high[0], low[0], c0[0], c0[1]), split_pair(high[1], low[1], c0[2], c0[3]);
    split_pair(high[2], low[2], c1[0], c1[1]), split_pair(high[3], low[3], c1[2], c1[3]);
  }
};

/// A block of 16 as its inverse, in rows of kStride floats: a column a lane, by substitution. What
/// is on its diagonal or above is not read.
template <int kStride>
__device__ __forceinline__ void invert_unit_block(float* block, int lane) {
  float x[16];
#pragma unroll
  for (int i = 0; i < 16; ++i) {
    float sums[4] = {i == lane % 16 ? 1.0F : 0.0F, 0, 0, 0};
#pragma unroll
    for (int m = 0; m < i; m += 4) {
      const float4 l = *reinterpret_cast<const float4*>(block + i * kStride + m);
      sums[0] = fmaf(-l.x, x[m], sums[0]);
      if (m + 1 < i) sums[1] = fmaf(-l.y, x[m + 1], sums[1]);
      if (m + 2 < i) sums[2] = fmaf(-l.z, x[m + 2], sums[2]);
      if (m + 3 < i) sums[3] = fmaf(-l.w, x[m + 3], sums[3]);
    }
    x[i] = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  }
  __syncwarp();
  if (lane >= 16) return;
#pragma unroll
  for (int i = 0; i < 16; ++i) block[i * kStride + lane] = x[i];
}

/// One block of 16 columns of the inverse X, transposed: warp w has columns 16 w ..
struct ColumnSolver {
  float* const lower;  // L
  const int warp, lane;

  /// Puts the inverse of the warp's diagonal block in its place.
  __device__ __forceinline__ void solve_diagonal() const {
    invert_unit_block<kLowerStride>(lower + 16 * warp * (kLowerStride + 1), lane);
  }

  /// The transposed diagonal block as it was left there.
  __device__ __forceinline__ void get_diagonal(float (&c)[2][4]) const {
#pragma unroll
    for (int n = 0; n < 2; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int row = 16 * warp + 8 * n + lane % 4 * 2 + i % 2;
        c[n][i] = lower[row * kLowerStride + 16 * warp + lane / 4 + i / 2 * 8];
      }
    }
  }

  /// c += a times the transposed block (row, column) of `lower`.
  __device__ __forceinline__ void multiply(float (&c)[2][4], const SplitFactor& a, int row,
                                           int column) const {
#pragma unroll
    for (int n = 0; n < 2; ++n) {
      const float* const from =
          lower + (16 * row + 8 * n + lane / 4) * kLowerStride + 16 * column + lane % 4 * 2;
      const float2 first = *reinterpret_cast<const float2*>(from);
      const float2 second = *reinterpret_cast<const float2*>(from + 8);
      uint32_t high[2], low[2];
      split_pair(high[0], low[0], first.x, first.y);
      split_pair(high[1], low[1], second.x, second.y);
      multiply_add(c[n], a.high, high[0], high[1]);
      multiply_add(c[n], a.high, low[0], low[1]);
      multiply_add(c[n], a.low, high[0], high[1]);
    }
  }
};

/// Writes (I + L)^-1, bfloat16 [64, 64], to memory. L's diagonal blocks are overwritten. By four
/// warps, after a barrier that follows the writing of L.
__device__ __forceinline__ void invert_unit_lower(float* lower, char* inverse) {
  const ColumnSolver solver{lower, static_cast<int>(threadIdx.x / 32),
                            static_cast<int>(threadIdx.x % 32)};
  const int warp = solver.warp, lane = solver.lane;
  char* const columns = inverse + 32 * warp;
  for (int row = lane / 4; row < 16 * warp; row += 8) {
    *reinterpret_cast<uint2*>(columns + row * (2 * kChunk) + lane % 4 * 8) = make_uint2(0, 0);
  }
  solver.solve_diagonal();
  __syncthreads();
  SplitFactor solved[4];
  float c[2][4];
  solver.get_diagonal(c);
  solved[0].set(c[0], c[1]);
#pragma unroll
  for (int below = 0; below < 4; ++below) {
    const int block = warp + below;
    if (block > 3) break;
    if (below > 0) {
      float sums[2][4] = {}, x[2][4] = {};
#pragma unroll
      for (int m = 0; m < below; ++m) solver.multiply(sums, solved[m], block, warp + m);
      SplitFactor sum;
      sum.set(sums[0], sums[1]);
      solver.multiply(x, sum, block, block);
#pragma unroll
      for (float(&tile)[4] : x) {
#pragma unroll
        for (float& number : tile) number = -number;
      }
      solved[below].set(x[0], x[1]);
    }
    store_by_token(columns + 16 * block * (2 * kChunk), 2 * kChunk, solved[below].high, 16);
  }
}

}  // namespace hypenet::kernels::cuda
