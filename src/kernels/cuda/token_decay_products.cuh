// The products of a chunk on Hopper with a decay per token. As in lightning attention a warpgroup
// owns 64 columns of one head's state, transposed, as the accumulators of its products.
#pragma once

#include "kernels/cuda/token_decay_walk.cuh"
#include "kernels/cuda/wgmma.cuh"

namespace hypenet::kernels::cuda {

template <int kSize>
constexpr int kGroups = kSize / 64;  // warpgroups, panels
template <int kSize>
constexpr int kScoreColumns = kChunk / kGroups<kSize>;  // of the scores, those of a warpgroup

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

template <int kSize>
using State = float[kSize / 2];    // S^T [64 of v, kSize of k] of a warpgroup
using Output = float[kChunk / 2];  // o^T [64 of v, 64 tokens]
template <int kSize>
using Scores = float[kScoreColumns<kSize> / 2];

/// Queues this warpgroup's columns of q k^T.
template <int kSize>
__device__ __forceinline__ void multiply_scores(Scores<kSize>& sums, uint32_t q, uint32_t k,
                                                int group) {
#pragma unroll
  for (int d = 0; d < kSize / 16; ++d) {
    const uint32_t at = d / 4 * kPanel + d % 4 * 32;
    multiply_shared<false>(sums, matrix_descriptor(q + at),
                           matrix_descriptor(k + at + group * kScoreColumns<kSize> * kRow), d > 0);
  }
}

/// The state as the left factor of its product with queries.
template <int kSize>
__device__ __forceinline__ void round_state(uint32_t (&factor)[kSize / 16][4],
                                            const State<kSize>& state) {
#pragma unroll
  for (int d = 0; d < kSize / 16; ++d) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      factor[d][i] = pack(state[8 * d + 2 * i], state[8 * d + 2 * i + 1]);
    }
  }
}

/// Queues output = S^T q^T.
template <int kSize>
__device__ __forceinline__ void read_state(Output& output, const uint32_t (&factor)[kSize / 16][4],
                                           uint32_t q) {
#pragma unroll
  for (int d = 0; d < kSize / 16; ++d) {
    multiply_registers<false>(output, factor[d], matrix_descriptor(q + d / 4 * kPanel + d % 4 * 32),
                              d > 0);
  }
}

/// The state fades across the chunk; factor = v, transposed, faded to the chunk's end.
template <int kSize>
__device__ __forceinline__ void prepare_update(State<kSize>& state,
                                               uint32_t (&factor)[kChunk / 16][4], uint32_t v,
                                               const float* factors) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32 % 4;
#pragma unroll
  for (int j = 0; j < kChunk / 16; ++j) {
    const float2 low = pair_at(factors + kKept, 16 * j + lane % 4 * 2);
    const float2 high = pair_at(factors + kKept, 16 * j + lane % 4 * 2 + 8);
    load_transposed(factor[j],
                    v + swizzled<kRow>(16 * j + lane % 8 + lane / 16 * 8, 2 * warp + lane / 8 % 2));
    factor[j][0] = scale_pair(factor[j][0], low.x, low.y);
    factor[j][1] = scale_pair(factor[j][1], low.x, low.y);
    factor[j][2] = scale_pair(factor[j][2], high.x, high.y);
    factor[j][3] = scale_pair(factor[j][3], high.x, high.y);
  }
  const float across = exp2_fast(factors[kSum + kChunk - 1]);
#pragma unroll
  for (float& x : state) x *= across;
}

/// Queues state += factor k.
template <int kSize>
__device__ __forceinline__ void update_state(State<kSize>& state,
                                             const uint32_t (&factor)[kChunk / 16][4], uint32_t k) {
#pragma unroll
  for (int j = 0; j < kChunk / 16; ++j) {
    multiply_registers<true>(state, factor[j], matrix_descriptor(k + j * 16 * kRow, kPanel), true);
  }
}

/// Queues output = v^T scores^T.
__device__ __forceinline__ void add_chunk(Output& output, uint32_t scores, uint32_t v) {
#pragma unroll
  for (int j = 0; j < kChunk / 16; ++j) {
    multiply_shared<true>(output, matrix_descriptor(v + j * 16 * kRow, kPanel),
                          matrix_descriptor(scores + j * 32), j > 0);
  }
}

/// Where a chunk's products of pairs go, [kGroups, 64] sums of a reader's and [4, 64] of a key's.
struct PairSums {
  float *readers, *keys;
};

/// Scores times the decay between query and key (scale and, but for kValues, beta in it), to
/// shared memory [query, key]. kQueries also sums scores times `products`, which are of q and k
/// themselves, over each reader's earlier keys and each key's later readers.
template <int kSize, PassKind kKind>
__device__ __forceinline__ void write_scores(const Scores<kSize>& sums,
                                             const Scores<kSize>& products, char* scores,
                                             const float* factors, float scale, int group,
                                             PairSums pairs) {
  constexpr int kTiles = kScoreColumns<kSize> / 8;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32 % 4;
  const int row = 16 * warp + lane / 4, t = lane % 4 * 2;
  const float low = factors[kSum + row], high = factors[kSum + row + 8];
  float of_low = scale, of_high = scale;  // beta, where it is the query's and not multiplied later
  if (kKind == PassKind::kKeys) {
    of_low *= factors[kBeta + row], of_high *= factors[kBeta + row + 8];
  }
  float of_readers[2] = {}, of_keys[2 * kTiles];
#pragma unroll
  for (int n = 0; n < kTiles; ++n) {
    const int tile = group * kTiles + n, column = 8 * tile + t;
    const float2 G = pair_at(factors + kSum, column);
    float2 lower = make_float2(of_low, of_low), upper = make_float2(of_high, of_high);
    if (!is_reverse(kKind)) lower = upper = pair_at(factors + kBeta, column);
    const float x[4] = {
        column <= row ? sums[4 * n] * (exp2_fast(low - G.x) * lower.x) : 0,
        column + 1 <= row ? sums[4 * n + 1] * (exp2_fast(low - G.y) * lower.y) : 0,
        column <= row + 8 ? sums[4 * n + 2] * (exp2_fast(high - G.x) * upper.x) : 0,
        column + 1 <= row + 8 ? sums[4 * n + 3] * (exp2_fast(high - G.y) * upper.y) : 0};
    *reinterpret_cast<uint32_t*>(scores + swizzled<kRow>(row, tile) + 2 * t) = pack(x[0], x[1]);
    *reinterpret_cast<uint32_t*>(scores + swizzled<kRow>(row + 8, tile) + 2 * t) = pack(x[2], x[3]);
    if (kKind == PassKind::kQueries) {
      // Not of a token with itself: a fast decay leaves less of all others than that is rounded by.
      const float y[4] = {column < row ? x[0] * products[4 * n] : 0,
                          column + 1 < row ? x[1] * products[4 * n + 1] : 0,
                          column < row + 8 ? x[2] * products[4 * n + 2] : 0,
                          column + 1 < row + 8 ? x[3] * products[4 * n + 3] : 0};
      of_readers[0] += y[0] + y[1], of_readers[1] += y[2] + y[3];
      of_keys[2 * n] = y[0] + y[2], of_keys[2 * n + 1] = y[1] + y[3];
    }
  }
  if constexpr (kKind == PassKind::kQueries) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      of_readers[i] += __shfl_xor_sync(~0U, of_readers[i], 1);
      of_readers[i] += __shfl_xor_sync(~0U, of_readers[i], 2);
      if (t == 0) pairs.readers[group * kChunk + row + 8 * i] = of_readers[i];
    }
    scatter_sums(of_keys);
#pragma unroll
    for (int i = 0; i < kTiles / 4; ++i) {
      const int place = lane / 4 * (kTiles / 4) + i;
      const int column = 8 * (group * kTiles + place / 2) + t + place % 2;
      pairs.keys[warp * kChunk + column] = of_keys[i];
    }
  }
}

/// The chunk's outputs, transposed, rounded, to the panel of values that this warpgroup alone has
/// read, as rows of tokens. `dots` [64] gets each token's sum over the warp's channels: of r times
/// what the state gave (kQueries, kKeys) or times the output without beta (kValues).
template <PassKind kKind>
__device__ __forceinline__ void finish_output(const Output& before, const Output& within,
                                              const float* factors, uint32_t panel, uint32_t r,
                                              float* dots) {
  constexpr bool kBackward = kKind != PassKind::kForward;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32 % 4, t = lane % 4 * 2;
  float sums[kChunk / 4] = {};
#pragma unroll
  for (int n = 0; n < kChunk / 8; n += 2) {
    const uint32_t place =
        swizzled<kRow>(8 * n + lane % 8 + lane / 16 * 8, 2 * warp + lane / 8 % 2);
    uint32_t tiles[4], own[4];
    if (kBackward) load_transposed(own, r + place);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int token = 8 * (n + i / 2) + t, at = 4 * n + 2 * i, sum = 2 * n + i / 2 * 2;
      const float2 read = pair_at(factors + kRead, token);
      const float x = before[at] * read.x, y = before[at + 1] * read.y;
      float all_x = x + within[at], all_y = y + within[at + 1];
      if (kBackward) {
        constexpr bool kOfAll = kKind == PassKind::kValues;
        sums[sum] += __uint_as_float(own[i] << 16) * (kOfAll ? all_x : x);
        sums[sum + 1] += __uint_as_float(own[i] & 0xffff0000U) * (kOfAll ? all_y : y);
      }
      if (kKind == PassKind::kValues) {
        const float2 beta = pair_at(factors + kBeta, token);
        all_x *= beta.x, all_y *= beta.y;
      }
      tiles[i] = pack(all_x, all_y);
    }
    store_transposed(panel + place, tiles);
  }
  if (!kBackward) return;
  scatter_sums(sums);
  *reinterpret_cast<float2*>(dots + 8 * (lane / 4) + t) = make_float2(sums[0], sums[1]);
}

/// Calls visit(element, index in a [k, v] matrix, index in a [v, k] matrix).
template <int kSize, class Visit>
__device__ __forceinline__ void for_each_element(State<kSize>& state, int group,
                                                 const Visit& visit) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32 % 4;
#pragma unroll
  for (int i = 0; i < kSize / 2; ++i) {
    const int column = 64 * group + 16 * warp + lane / 4 + i / 2 % 2 * 8;  // of v
    const int row = i / 4 * 8 + lane % 4 * 2 + i % 2;                      // of k
    visit(state[i], row * kSize + column, column * kSize + row);
  }
}

#endif  // __CUDA_ARCH_FEAT_SM90_ALL

}  // namespace hypenet::kernels::cuda
