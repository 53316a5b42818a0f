// What a chunk needs before its state is known: scores, the inverse of its
// triangle, decays. Here with a decay per token.
#include "kernels/cuda/delta_rule_prepare.cuh"

namespace hypenet::kernels::cuda {
namespace {

/// G, exp(G), exp(G_C - G) and beta of the chunk's tokens to shared and global
/// memory, by one warp.
__device__ __forceinline__ void fill_factors(const DeltaRuleWork &work, const Chunk &chunk,
                                             float *factors) {
  const int lane = threadIdx.x;
  const HeadTokens &at = chunk.tokens;
  float sum[2], beta[2];
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int row = 2 * lane + i;
    const bool valid = row < at.rows;
    const int64_t from = at.first + (valid ? row : 0) * at.stride;
    sum[i] = valid ? -work.p.decay[from] : 0.0F;
    beta[i] = valid ? work.p.beta[from] : 0.0F;
  }
  float before = sum[0] + sum[1];
#pragma unroll
  for (int offset = 1; offset < 32; offset *= 2) {
    const float other = __shfl_up_sync(~0U, before, offset);
    if (lane >= offset) before += other;
  }
  const float last = __shfl_sync(~0U, before, 31);
  const float both[2] = {before - sum[1], before};
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const float values[kFactors] = {both[i], __expf(both[i]), __expf(last - both[i]), beta[i]};
#pragma unroll
    for (int f = 0; f < kFactors; ++f) {
      const int index = f * kChunk + 2 * lane + i;
      factors[index] = values[f];
      work.scratch.factors[chunk.piece * (kFactors * kChunk) + index] = values[f];
    }
  }
}

template <int kSize>
__global__ void __launch_bounds__(kPrepareThreads)
    prepare_kernel(const __grid_constant__ DeltaRuleWork work) {
  using G = PrepareGeometry<kSize, false>;
  extern __shared__ __align__(128) char shared[];
  const Chunk chunk = chunk_of_block(work);
  const Place at;
  const uint32_t q = shared_address(shared), k = q + G::kTile;
  ask_inputs<kSize>(work.p, chunk.tokens, q, k);
  commit_copies();
  float *const factors = reinterpret_cast<float *>(shared + G::kFactorsAt);
  if (at.warp == 0) fill_factors(work, chunk, factors);
  wait_copies<0>();
  __syncthreads();

  Scores sums;
#pragma unroll
  for (int d = 0; d < kSize / 16; ++d) {
    uint32_t queries[4], readers[4];
    left_of<kSize>(queries, q, at.warp, d);
    left_of<kSize>(readers, k, at.warp, d);
#pragma unroll
    for (int pair = 0; pair < kChunk / 16; ++pair) {
      if (pair > at.warp) continue;
      uint32_t keys[4];
      right_by_rows<kSize>(keys, k, pair, d);
      multiply_pair(sums.q[2 * pair], sums.q[2 * pair + 1], queries, keys);
      multiply_pair(sums.k[2 * pair], sums.k[2 * pair + 1], readers, keys);
    }
  }
#pragma unroll
  for (int tile = 0; tile < kChunk / 8; ++tile) {
    if (tile / 2 > at.warp) continue;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int row = at.row(i), column = at.column(tile, i);
      const float lag = factors[kSum * kChunk + row] - factors[kSum * kChunk + column];
      const float kept = column <= row ? __expf(lag) : 0.0F;
      sums.q[tile][i] *= kept;
      sums.k[tile][i] *= column < row ? kept : 0.0F;
    }
  }
  __syncthreads();  // L and the scores take the place of q and k
  const Writer<G> writer{shared, factors + kBeta * kChunk, work.p.scale};
  writer.rows(sums, at);
  finish<G>(work, chunk, shared);
}

}  // namespace

int64_t prepare_delta_rule_bytes(int64_t size, bool is_per_channel) {
  if (is_per_channel) return prepare_channels_bytes(size);
  return size == 64 ? PrepareGeometry<64, false>::kBytes : PrepareGeometry<128, false>::kBytes;
}

Status prepare_delta_rule(const DeltaRuleWork &work, Stream stream) {
  if (work.p.is_per_channel) return prepare_channels(work, stream);
  const auto bytes = static_cast<int>(prepare_delta_rule_bytes(work.p.size, false));
  return work.p.size == 64 ? launch_prepare(prepare_kernel<64>, bytes, work, stream)
                           : launch_prepare(prepare_kernel<128>, bytes, work, stream);
}

}  // namespace hypenet::kernels::cuda
