// The inverse of a chunk's unit lower triangular matrix, in float32: 16 columns a warp.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>

namespace hypenet::kernels::cuda {

constexpr int kSolveStride = 68;  // floats of a row of L: rows fall on different banks

/// One block of 16 columns: lane c and lane c + 16 hold column c, x[i] of row i.
struct ColumnSolver {
  float* const lower;  // L, of which what is strictly below the diagonal is read
  const int warp, lane;

  __device__ __forceinline__ float4 quad(int row, int column) const {
    return *reinterpret_cast<const float4*>(lower + row * kSolveStride + column);
  }

  /// x = column of (I + L_ww)^-1 by substitution.
  __device__ __forceinline__ void solve_diagonal(float (&x)[64]) const {
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      float sum = i == lane % 16 ? 1.0F : 0.0F;
#pragma unroll
      for (int m = 0; m < i; m += 4) {
        const float4 l = quad(16 * warp + i, 16 * warp + m);
        sum -= l.x * x[m];
        if (m + 1 < i) sum -= l.y * x[m + 1];
        if (m + 2 < i) sum -= l.z * x[m + 2];
        if (m + 3 < i) sum -= l.w * x[m + 3];
      }
      x[i] = sum;
    }
  }

  /// sums[r] of rows 2 r + half of the matrix whose first row and column are given, with y.
  template <int kCount, int kSize>
  __device__ __forceinline__ void multiply(float (&sums)[8], const float (&y)[kSize], int row,
                                           int column) const {
#pragma unroll
    for (int m = 0; m < kCount; m += 4) {
#pragma unroll
      for (int r = 0; r < 8; ++r) {
        const float4 l = quad(row + 2 * r + lane / 16, column + m);
        sums[r] += l.x * y[m] + l.y * y[m + 1] + l.z * y[m + 2] + l.w * y[m + 3];
      }
    }
  }

  /// All 16 rows in both halves of the warp.
  __device__ __forceinline__ void join(float (&rows)[16], const float (&own)[8]) const {
#pragma unroll
    for (int r = 0; r < 8; ++r) {
      const float other = __shfl_xor_sync(~0U, own[r], 16);
      rows[2 * r] = lane < 16 ? own[r] : other;
      rows[2 * r + 1] = lane < 16 ? other : own[r];
    }
  }

  /// Rows of block `w + kBlock`: X = -X_ii (sum of L_im X_m).
  template <int kBlock>
  __device__ __forceinline__ void solve_block(float (&x)[64]) const {
    float sums[8] = {}, all[16], solved[8] = {}, rows[16];
    multiply<16 * kBlock>(sums, x, 16 * (warp + kBlock), 16 * warp);
    join(all, sums);
    multiply<16>(solved, all, 16 * (warp + kBlock), 16 * (warp + kBlock));
    join(rows, solved);
#pragma unroll
    for (int i = 0; i < 16; ++i) x[16 * kBlock + i] = -rows[i];
  }
};

/// inverse [64, 64] bfloat16 in rows of `stride` elements = (I + L)^-1, the blocks above the
/// diagonal's left as they are. L's diagonal blocks are overwritten. By four warps, after a barrier
/// that follows the writing of L; the result needs another.
__device__ __forceinline__ void invert_unit_lower(float* lower, __nv_bfloat16* inverse,
                                                  int stride) {
  const ColumnSolver solver{lower, static_cast<int>(threadIdx.x / 32),
                            static_cast<int>(threadIdx.x % 32)};
  const int warp = solver.warp, lane = solver.lane;
  float x[64];
  solver.solve_diagonal(x);
  __syncwarp();
  if (lane < 16) {
#pragma unroll
    for (int i = 0; i < 16; ++i) lower[(16 * warp + i) * kSolveStride + 16 * warp + lane] = x[i];
  }
  __syncthreads();
  if (warp < 3) solver.solve_block<1>(x);
  if (warp < 2) solver.solve_block<2>(x);
  if (warp < 1) solver.solve_block<3>(x);
  if (lane >= 16) return;
#pragma unroll
  for (int block = 0; block < 4; ++block) {
    if (warp + block > 3) continue;
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      inverse[(16 * (warp + block) + i) * stride + 16 * warp + lane] =
          __float2bfloat16_rn(x[16 * block + i]);
    }
  }
}

}  // namespace hypenet::kernels::cuda
