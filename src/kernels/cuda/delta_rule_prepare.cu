// What a chunk needs before its state is known: scores, the inverse of its triangle, decays. One
// block of four warps a chunk; a warp takes 16 readers.
#include "kernels/cuda/delta_rule.cuh"
#include "kernels/cuda/delta_rule_solve.cuh"

namespace hypenet::kernels::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kInverseStride = 72;  // elements of a row on its way out

template <int kSize, bool kChannels>
struct Geometry {
  static constexpr int kTile = kChunk * kSize * 2;
  static constexpr int kLower = kChunk * kSolveStride * 4;
  static constexpr int kInverse = kChunk * kInverseStride * 2;
  static constexpr int kSumStride = kSize + 4;  // floats of a token's G per channel
  static constexpr int kSums = kChannels ? kChunk * kSumStride * 4 : 0;
  // q and k, which L and the inverse replace (per channel they stand beside), then G, factors and
  // readings of them.
  static constexpr int kFirst = 2 * kTile > kLower + kInverse ? 2 * kTile : kLower + kInverse;
  static constexpr int kLowerAt = kChannels ? 2 * kTile : 0;
  static constexpr int kInverseAt = kChannels ? 0 : kLower;
  static constexpr int kSumsAt = kChannels ? 2 * kTile + kLower : kFirst;
  static constexpr int kFactorsAt = kSumsAt + kSums;
  static constexpr int kBytes = kFactorsAt + kFactors * kChunk * 4;
};

struct Chunk {
  int64_t head, index, piece;  // piece: of the scratch arrays
  HeadTokens tokens;
};

__device__ __forceinline__ Chunk chunk_of_block(const DeltaRuleWork& work) {
  const int64_t chunk = blockIdx.x, head = blockIdx.y;
  return {head, chunk, head * work.scratch.chunks + chunk, tokens_of(work.p, head, chunk)};
}

/// The scores' tile of 8 keys, the same of L: of 16 readers each.
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

/// Row and column of element i of a warp's tile.
__device__ __forceinline__ int row_of(int i) {
  return static_cast<int>(threadIdx.x) / 32 * 16 + static_cast<int>(threadIdx.x) % 32 / 4 + i / 2 * 8;
}
__device__ __forceinline__ int column_of(int tile, int i) {
  return 8 * tile + static_cast<int>(threadIdx.x) % 4 * 2 + i % 2;
}

/// Scores of blocks up to the warp's own, times `scale`, to memory. What is above them stays.
__device__ __forceinline__ void store_scores(char* scores, const float (&sums)[kChunk / 8][4],
                                             float scale) {
#pragma unroll
  for (int pair = 0; pair < kChunk / 16; ++pair) {
    if (pair > static_cast<int>(threadIdx.x) / 32) continue;
    const auto &low = sums[2 * pair], &high = sums[2 * pair + 1];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int i = 2 * half;
      store_halves(scores + row_of(i) * (2 * kChunk) + 32 * pair,
                   pack(low[i] * scale, low[i + 1] * scale),
                   pack(high[i] * scale, high[i + 1] * scale), true);
    }
  }
}

/// The inverse as it is in shared memory, 16 bytes a thread.
__device__ __forceinline__ void store_inverse(char* to, const char* inverse) {
  for (int i = threadIdx.x; i < kChunk * 8; i += kThreads) {
    const int row = i / 8, piece = i % 8;
    *reinterpret_cast<uint4*>(to + row * (2 * kChunk) + 16 * piece) =
        *reinterpret_cast<const uint4*>(inverse + row * (2 * kInverseStride) + 16 * piece);
  }
}

/// G, exp(G), exp(G_C - G) and beta of the chunk's tokens to shared and global memory, by one warp.
__device__ __forceinline__ void fill_factors(const DeltaRuleWork& work, const Chunk& chunk,
                                             float* factors) {
  const int lane = threadIdx.x;
  const HeadTokens& at = chunk.tokens;
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
__global__ void __launch_bounds__(kThreads)
    prepare_kernel(const __grid_constant__ DeltaRuleWork work) {
  using G = Geometry<kSize, false>;
  extern __shared__ __align__(128) char shared[];
  const Chunk chunk = chunk_of_block(work);
  const int warp = threadIdx.x / 32;
  const uint32_t q = shared_address(shared), k = q + G::kTile;
  const int64_t stride = chunk.tokens.stride * kSize * 2, first = chunk.tokens.first * kSize * 2;
  ask_tile<kSize, kThreads>(q, static_cast<const char*>(work.p.q) + first, stride,
                            chunk.tokens.rows);
  ask_tile<kSize, kThreads>(k, static_cast<const char*>(work.p.k) + first, stride,
                            chunk.tokens.rows);
  commit_copies();
  float* const factors = reinterpret_cast<float*>(shared + G::kFactorsAt);
  if (warp == 0) fill_factors(work, chunk, factors);
  wait_copies<0>();
  __syncthreads();

  Scores sums;
#pragma unroll
  for (int d = 0; d < kSize / 16; ++d) {
    uint32_t queries[4], readers[4];
    left_of<kSize>(queries, q, warp, d);
    left_of<kSize>(readers, k, warp, d);
#pragma unroll
    for (int pair = 0; pair < kChunk / 16; ++pair) {
      if (pair > warp) continue;
      uint32_t keys[4];
      right_by_rows<kSize>(keys, k, pair, d);
      multiply_pair(sums.q[2 * pair], sums.q[2 * pair + 1], queries, keys);
      multiply_pair(sums.k[2 * pair], sums.k[2 * pair + 1], readers, keys);
    }
  }
  __syncthreads();  // L takes the place of q and k
  float* const lower = reinterpret_cast<float*>(shared);
#pragma unroll
  for (int tile = 0; tile < kChunk / 8; ++tile) {
    if (tile / 2 > warp) continue;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int row = row_of(i), column = column_of(tile, i);
      const float lag = factors[kSum * kChunk + row] - factors[kSum * kChunk + column];
      const float kept = column <= row ? __expf(lag) : 0.0F;
      sums.q[tile][i] *= kept;
      sums.k[tile][i] *= column < row ? kept * factors[kBeta * kChunk + row] : 0.0F;
    }
    const int row = row_of(0), column = column_of(tile, 0);
    *reinterpret_cast<float2*>(lower + row * kSolveStride + column) =
        make_float2(sums.k[tile][0], sums.k[tile][1]);
    *reinterpret_cast<float2*>(lower + (row + 8) * kSolveStride + column) =
        make_float2(sums.k[tile][2], sums.k[tile][3]);
  }
  store_scores(work.scratch.scores + chunk.piece * (2 * kChunk * kChunk), sums.q, work.p.scale);
  __syncthreads();
  char* const inverse = shared + G::kInverseAt;
  invert_unit_lower(lower, reinterpret_cast<__nv_bfloat16*>(inverse), kInverseStride);
  __syncthreads();
  store_inverse(work.scratch.inverse + chunk.piece * (2 * kChunk * kChunk), inverse);
}

/// The sum of -decay up to each token, a channel a thread, and beta.
template <int kSize>
__device__ __forceinline__ void fill_sums(const DeltaRuleWork& work, const Chunk& chunk,
                                          float* sums, float* beta) {
  using G = Geometry<kSize, true>;
  const HeadTokens& at = chunk.tokens;
  const int thread = threadIdx.x;
  if (thread < kChunk) {
    const bool valid = thread < at.rows;
    beta[thread] = valid ? work.p.beta[at.first + thread * at.stride] : 0.0F;
    work.scratch.factors[chunk.piece * (kFactors * kChunk) + kBeta * kChunk + thread] =
        beta[thread];
  }
  for (int channel = thread; channel < kSize; channel += kThreads) {
    float sum = 0;
#pragma unroll 16
    for (int row = 0; row < kChunk; ++row) {
      float* const place = sums + row * G::kSumStride + channel;
      sum -= *place;
      *place = sum;
    }
    work.scratch.across[chunk.piece * kSize + channel] = __expf(sum);
  }
}

/// q e^G scale, k e^G and k e^(G_C - G), 8 channels a thread.
template <int kSize>
__device__ __forceinline__ void store_decayed(const DeltaRuleWork& work, const Chunk& chunk,
                                              const char* q, const char* k, const float* sums) {
  using G = Geometry<kSize, true>;
  constexpr int kPieces = kSize / 8;
  const int64_t base = chunk.piece * G::kTile;
#pragma unroll 2
  for (int i = threadIdx.x; i < kChunk * kPieces; i += kThreads) {
    const int row = i / kPieces, piece = i % kPieces;
    const uint4 queries = *reinterpret_cast<const uint4*>(q + swizzled<2 * kSize>(row, piece));
    const uint4 keys = *reinterpret_cast<const uint4*>(k + swizzled<2 * kSize>(row, piece));
    const uint32_t q4[4] = {queries.x, queries.y, queries.z, queries.w};
    const uint32_t k4[4] = {keys.x, keys.y, keys.z, keys.w};
    uint32_t gated_q[4], gated_k[4], tails[4];
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const int channel = 8 * piece + 2 * j;
      const float2 g = *reinterpret_cast<const float2*>(sums + row * G::kSumStride + channel);
      const float2 last =
          *reinterpret_cast<const float2*>(sums + (kChunk - 1) * G::kSumStride + channel);
      const float low = __expf(g.x), high = __expf(g.y);
      gated_q[j] = scale_pair(q4[j], low * work.p.scale, high * work.p.scale);
      gated_k[j] = scale_pair(k4[j], low, high);
      tails[j] = scale_pair(k4[j], __expf(last.x - g.x), __expf(last.y - g.y));
    }
    const int64_t to = base + row * (2 * kSize) + 16 * piece;
    *reinterpret_cast<uint4*>(work.scratch.queries + to) =
        make_uint4(gated_q[0], gated_q[1], gated_q[2], gated_q[3]);
    *reinterpret_cast<uint4*>(work.scratch.keys + to) =
        make_uint4(gated_k[0], gated_k[1], gated_k[2], gated_k[3]);
    *reinterpret_cast<uint4*>(work.scratch.tails + to) =
        make_uint4(tails[0], tails[1], tails[2], tails[3]);
  }
}

/// Scores of the warp's 16 readers with the keys of earlier blocks, which they meet at the warp's
/// first token: both have only faded since.
template <int kSize>
__device__ __forceinline__ void score_past(Scores& scores, uint32_t q, uint32_t k,
                                           const float* sums) {
  using G = Geometry<kSize, true>;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4;
  const float* const first = sums + 16 * warp * G::kSumStride;
#pragma unroll 1
  for (int d = 0; d < kSize / 16; ++d) {
    const int channel = 16 * d + 2 * t;
    const auto at = [&](const float* row, int half) {
      return *reinterpret_cast<const float2*>(row + channel + 8 * half);
    };
    const float2 meet[2] = {at(first, 0), at(first, 1)};
    uint32_t queries[4], readers[4];
    left_of<kSize>(queries, q, warp, d);
    left_of<kSize>(readers, k, warp, d);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float2 own = at(first + (g + i % 2 * 8) * G::kSumStride, i / 2);
      const float low = __expf(own.x - meet[i / 2].x), high = __expf(own.y - meet[i / 2].y);
      queries[i] = scale_pair(queries[i], low, high);
      readers[i] = scale_pair(readers[i], low, high);
    }
#pragma unroll
    for (int pair = 0; pair < kChunk / 16 - 1; ++pair) {
      if (pair >= warp) continue;
      uint32_t keys[4];
      right_by_rows<kSize>(keys, k, pair, d);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float2 key = at(sums + (16 * pair + i / 2 * 8 + g) * G::kSumStride, i % 2);
        keys[i] = scale_pair(keys[i], __expf(meet[i % 2].x - key.x), __expf(meet[i % 2].y - key.y));
      }
      multiply_pair(scores.q[2 * pair], scores.q[2 * pair + 1], queries, keys);
      multiply_pair(scores.k[2 * pair], scores.k[2 * pair + 1], readers, keys);
    }
  }
}

/// Scores inside a block of 16, number by number. A thread takes 4 readers, 4 keys up to theirs and
/// an eighth of the channels; readers and keys of different fours meet at the readers' first.
template <int kSize>
__device__ __forceinline__ void score_within(int block, int tile, const char* q, const char* k,
                                             const float* sums, float (&of_q)[4][4],
                                             float (&of_k)[4][4]) {
  using G = Geometry<kSize, true>;
  const int part = threadIdx.x % 8;
  const int quad = tile >= 6 ? 3 : tile >= 3 ? 2 : tile >= 1 ? 1 : 0;
  const int reader = 16 * block + 4 * quad, key = 16 * block + 4 * (tile - quad * (quad + 1) / 2);
  const bool is_own = reader == key;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) of_q[i][j] = of_k[i][j] = 0;
  }
#pragma unroll 1
  for (int step = 0; step < kSize / 16; ++step) {
    const int channel = 16 * step + 2 * part;
    const auto words = [&](const char* tile_of, int row) {
      return pair_of(*reinterpret_cast<const uint32_t*>(
          tile_of + swizzled<2 * kSize>(row, channel / 8) + channel % 8 * 2));
    };
    const auto sum_at = [&](int row) {
      return *reinterpret_cast<const float2*>(sums + row * G::kSumStride + channel);
    };
    float2 readers[4], queries[4], keys[4], later[4], earlier[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      readers[i] = words(k, reader + i), queries[i] = words(q, reader + i);
      keys[i] = words(k, key + i);
      later[i] = sum_at(reader + i), earlier[i] = sum_at(key + i);
    }
    if (is_own) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
#pragma unroll
        for (int j = 0; j <= i; ++j) {
          const float low = keys[j].x * __expf(later[i].x - earlier[j].x);
          const float high = keys[j].y * __expf(later[i].y - earlier[j].y);
          of_q[i][j] += queries[i].x * low + queries[i].y * high;
          of_k[i][j] += readers[i].x * low + readers[i].y * high;
        }
      }
    } else {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        keys[i].x *= __expf(later[0].x - earlier[i].x);
        keys[i].y *= __expf(later[0].y - earlier[i].y);
      }
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float low = i == 0 ? 1.0F : __expf(later[i].x - later[0].x);
        const float high = i == 0 ? 1.0F : __expf(later[i].y - later[0].y);
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          of_q[i][j] += queries[i].x * low * keys[j].x + queries[i].y * high * keys[j].y;
          of_k[i][j] += readers[i].x * low * keys[j].x + readers[i].y * high * keys[j].y;
        }
      }
    }
  }
  // Over the eight lanes that share a tile.
#pragma unroll
  for (int i = 0; i < 4; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
#pragma unroll
      for (int offset = 4; offset > 0; offset /= 2) {
        of_q[i][j] += __shfl_xor_sync(~0U, of_q[i][j], offset);
        of_k[i][j] += __shfl_xor_sync(~0U, of_k[i][j], offset);
      }
    }
  }
}

template <int kSize>
__global__ void __launch_bounds__(kThreads)
    prepare_channels_kernel(const __grid_constant__ DeltaRuleWork work) {
  using G = Geometry<kSize, true>;
  extern __shared__ __align__(128) char shared[];
  const Chunk chunk = chunk_of_block(work);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const uint32_t q = shared_address(shared), k = q + G::kTile;
  float* const lower = reinterpret_cast<float*>(shared + G::kLowerAt);
  float* const sums = reinterpret_cast<float*>(shared + G::kSumsAt);
  float* const beta = reinterpret_cast<float*>(shared + G::kFactorsAt);
  char* const stored_scores = work.scratch.scores + chunk.piece * (2 * kChunk * kChunk);
  const HeadTokens& at = chunk.tokens;
  const int64_t stride = at.stride * kSize * 2, first = at.first * kSize * 2;
  for (int i = threadIdx.x; i < kChunk * kSize / 4; i += kThreads) {
    const int row = i / (kSize / 4), four = i % (kSize / 4);
    const bool valid = row < at.rows;
    copy_async(shared_address(sums + row * G::kSumStride + 4 * four),
               work.p.decay + (at.first + (valid ? row * at.stride : 0)) * kSize + 4 * four, valid);
  }
  commit_copies();
  ask_tile<kSize, kThreads>(q, static_cast<const char*>(work.p.q) + first, stride, at.rows);
  ask_tile<kSize, kThreads>(k, static_cast<const char*>(work.p.k) + first, stride, at.rows);
  commit_copies();
  wait_copies<1>();
  __syncthreads();
  fill_sums<kSize>(work, chunk, sums, beta);
  wait_copies<0>();
  __syncthreads();
  store_decayed<kSize>(work, chunk, shared, shared + G::kTile, sums);

  Scores past;
  score_past<kSize>(past, q, k, sums);
  // A warp with fewer earlier keys takes more of the blocks on the diagonal: 40 tiles, 4 at a time.
  const int rounds = 4 - warp, begin = warp * 4 - warp * (warp - 1) / 2;
#pragma unroll 1
  for (int round = begin; round < begin + rounds; ++round) {
    const int item = 4 * round + lane / 8, block = item / 10, tile = item % 10;
    float of_q[4][4], of_k[4][4];
    score_within<kSize>(block, tile, shared, shared + G::kTile, sums, of_q, of_k);
    if (lane % 8 != 0) continue;
    const int quad = tile >= 6 ? 3 : tile >= 3 ? 2 : tile >= 1 ? 1 : 0;
    const int reader = 16 * block + 4 * quad, key = 16 * block + 4 * (tile - quad * (quad + 1) / 2);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float b = beta[reader + i], c = work.p.scale;
      *reinterpret_cast<float4*>(lower + (reader + i) * kSolveStride + key) =
          make_float4(b * of_k[i][0], b * of_k[i][1], b * of_k[i][2], b * of_k[i][3]);
      *reinterpret_cast<uint2*>(stored_scores + (reader + i) * (2 * kChunk) + 2 * key) =
          make_uint2(pack(c * of_q[i][0], c * of_q[i][1]), pack(c * of_q[i][2], c * of_q[i][3]));
      // What is above the diagonal in its blocks.
      if (key < reader) {
        *reinterpret_cast<uint2*>(stored_scores + (key + i) * (2 * kChunk) + 2 * reader) =
            make_uint2(0, 0);
      }
    }
  }
#pragma unroll
  for (int pair = 0; pair < kChunk / 16 - 1; ++pair) {
    if (pair >= warp) continue;
#pragma unroll
    for (int tile = 2 * pair; tile < 2 * pair + 2; ++tile) {
#pragma unroll
      for (int i = 0; i < 4; i += 2) {
        const float b = beta[row_of(i)];
        *reinterpret_cast<float2*>(lower + row_of(i) * kSolveStride + column_of(tile, i)) =
            make_float2(b * past.k[tile][i], b * past.k[tile][i + 1]);
      }
    }
#pragma unroll
    for (int i = 0; i < 4; i += 2) {
      const auto &low = past.q[2 * pair], &high = past.q[2 * pair + 1];
      store_halves(stored_scores + row_of(i) * (2 * kChunk) + 32 * pair,
                   pack(low[i] * work.p.scale, low[i + 1] * work.p.scale),
                   pack(high[i] * work.p.scale, high[i + 1] * work.p.scale), true);
    }
  }
  __syncthreads();
  char* const inverse = shared + G::kInverseAt;
  invert_unit_lower(lower, reinterpret_cast<__nv_bfloat16*>(inverse), kInverseStride);
  __syncthreads();
  store_inverse(work.scratch.inverse + chunk.piece * (2 * kChunk * kChunk), inverse);
}

template <int kSize, bool kChannels>
Status launch(const DeltaRuleWork& work, Stream stream) {
  constexpr int kBytes = Geometry<kSize, kChannels>::kBytes;
  const auto kernel = kChannels ? prepare_channels_kernel<kSize> : prepare_kernel<kSize>;
  const cudaError_t error =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes);
  if (error != cudaSuccess) return status_of(error);
  const dim3 blocks(static_cast<unsigned>(work.scratch.chunks),
                    static_cast<unsigned>(work.p.batch * work.p.heads));
  kernel<<<blocks, kThreads, kBytes, cuda_stream(stream)>>>(work);
  return launch_status();
}

}  // namespace

int64_t prepare_delta_rule_bytes(int64_t size, bool is_per_channel) {
  if (is_per_channel) return size == 64 ? Geometry<64, true>::kBytes : Geometry<128, true>::kBytes;
  return size == 64 ? Geometry<64, false>::kBytes : Geometry<128, false>::kBytes;
}

Status prepare_delta_rule(const DeltaRuleWork& work, Stream stream) {
  if (work.p.is_per_channel) {
    return work.p.size == 64 ? launch<64, true>(work, stream) : launch<128, true>(work, stream);
  }
  return work.p.size == 64 ? launch<64, false>(work, stream) : launch<128, false>(work, stream);
}

}  // namespace hypenet::kernels::cuda
