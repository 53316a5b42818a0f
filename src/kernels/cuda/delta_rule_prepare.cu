// What a chunk needs before its state is known: scores, the inverse of its triangle, decays. One
// block of four warps a chunk; a warp takes 16 readers.
#include "kernels/cuda/delta_rule.cuh"
#include "kernels/cuda/delta_rule_solve.cuh"

namespace hypenet::kernels::cuda {
namespace {

constexpr int kThreads = 128;

template <int kSize, bool kChannels>
struct Geometry {
  static constexpr int kTile = kChunk * kSize * 2;
  static constexpr int kLower = kChunk * kLowerStride * 4;
  static constexpr int kScoreRow = 2 * kChunk + 16;  // bytes of a row of scores on their way out
  static constexpr int kScores = kLower;
  static constexpr int kScoresEnd = kLower + kChunk * kScoreRow;
  // q and k, whose place L and the scores take; then G per channel, and factors.
  static constexpr int kSums = 2 * kTile > kScoresEnd ? 2 * kTile : kScoresEnd;
  static constexpr int kSumStride = kSize + 4;  // floats of a token's G per channel
  static constexpr int kFactorsAt = kSums + (kChannels ? kChunk * kSumStride * 4 : 0);
  static constexpr int kBytes = kFactorsAt + (kChannels ? 1 : kFactors) * kChunk * 4;
};

struct Chunk {
  int64_t piece;  // of the scratch arrays
  HeadTokens tokens;
};

__device__ __forceinline__ Chunk chunk_of_block(const DeltaRuleWork& work) {
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
  char* const shared;
  const float* const beta;
  const float scale;

  __device__ __forceinline__ void score(int row, int column, float x, float y) const {
    *reinterpret_cast<uint32_t*>(shared + G::kScores + row * G::kScoreRow + 2 * column) =
        pack(x * scale, y * scale);
  }
  __device__ __forceinline__ void lower(int row, int column, float x, float y) const {
    *reinterpret_cast<float2*>(shared + (row * kLowerStride + column) * 4) =
        make_float2(x * beta[row], y * beta[row]);
  }
  /// A warp's rows, with zeros in the scores after its own block.
  __device__ __forceinline__ void rows(const Scores& sums, const Place& at) const {
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

/// After all of a chunk's scores and L are written: both to memory, L as its inverse.
template <class G>
__device__ __forceinline__ void finish(const DeltaRuleWork& work, const Chunk& chunk,
                                       char* shared) {
  __syncthreads();
  const int64_t at = chunk.piece * (2 * kChunk * kChunk);
#pragma unroll
  for (int i = 0; i < kChunk * 8; i += kThreads) {
    const int row = (i + threadIdx.x) / 8, piece = threadIdx.x % 8;
    *reinterpret_cast<uint4*>(work.scratch.scores + at + row * (2 * kChunk) + 16 * piece) =
        *reinterpret_cast<const uint4*>(shared + G::kScores + row * G::kScoreRow + 16 * piece);
  }
  invert_unit_lower(reinterpret_cast<float*>(shared), work.scratch.inverse + at);
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
__device__ __forceinline__ void ask_inputs(const DeltaRuleParams& p, const HeadTokens& at,
                                           uint32_t q, uint32_t k) {
  const int64_t stride = at.stride * kSize * 2, first = at.first * kSize * 2;
  ask_tile<kSize, kThreads>(q, static_cast<const char*>(p.q) + first, stride, at.rows);
  ask_tile<kSize, kThreads>(k, static_cast<const char*>(p.k) + first, stride, at.rows);
}

template <int kSize>
__global__ void __launch_bounds__(kThreads)
    prepare_kernel(const __grid_constant__ DeltaRuleWork work) {
  using G = Geometry<kSize, false>;
  extern __shared__ __align__(128) char shared[];
  const Chunk chunk = chunk_of_block(work);
  const Place at;
  const uint32_t q = shared_address(shared), k = q + G::kTile;
  ask_inputs<kSize>(work.p, chunk.tokens, q, k);
  commit_copies();
  float* const factors = reinterpret_cast<float*>(shared + G::kFactorsAt);
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
                                              const char* shared, const float* sums) {
  using G = Geometry<kSize, true>;
  constexpr int kPieces = kSize / 8;
  const int64_t base = chunk.piece * G::kTile;
  const float scale = work.p.scale;
#pragma unroll 2
  for (int i = threadIdx.x; i < kChunk * kPieces; i += kThreads) {
    const int row = i / kPieces, piece = i % kPieces;
    const char* const from = shared + swizzled<2 * kSize>(row, piece);
    const uint4 queries = *reinterpret_cast<const uint4*>(from);
    const uint4 keys = *reinterpret_cast<const uint4*>(from + G::kTile);
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
      gated_q[j] = scale_pair(q4[j], low * scale, high * scale);
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

/// Readers and keys with a decay per channel meet at a token between them: both have only faded
/// since. What is read here is one warp's.
template <int kSize>
struct Meeting {
  using G = Geometry<kSize, true>;
  uint32_t q, k;  // tiles
  const char* keys;
  const float* sums;
  Place at;

  __device__ __forceinline__ float2 sum(int row, int channel) const {
    return *reinterpret_cast<const float2*>(sums + row * G::kSumStride + channel);
  }
  /// A pair of numbers of `row` as it is at `meet`, which is before it (a reader) or after it.
  __device__ __forceinline__ uint32_t read(uint32_t pair, int row, int channel, float2 meet) const {
    const float2 own = sum(row, channel);
    return scale_pair(pair, __expf(own.x - meet.x), __expf(own.y - meet.y));
  }
  __device__ __forceinline__ uint32_t keep(uint32_t pair, int row, int channel, float2 meet) const {
    const float2 own = sum(row, channel);
    return scale_pair(pair, __expf(meet.x - own.x), __expf(meet.y - own.y));
  }
  /// Two numbers of a key.
  __device__ __forceinline__ uint32_t key(int row, int channel) const {
    return *reinterpret_cast<const uint32_t*>(keys + swizzled<2 * kSize>(row, channel / 8) +
                                              channel % 8 * 2);
  }

  /// The warp's 16 readers with the keys of earlier blocks, at the warp's first token.
  __device__ __forceinline__ void past(Scores& scores) const {
    const int first = 16 * at.warp;
#pragma unroll 1
    for (int d = 0; d < kSize / 16 && at.warp > 0; ++d) {
      const int channel = 16 * d + 2 * at.t;
      const float2 meet[2] = {sum(first, channel), sum(first, channel + 8)};
      uint32_t queries[4], readers[4];
      left_of<kSize>(queries, q, at.warp, d);
      left_of<kSize>(readers, k, at.warp, d);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float2 own = sum(first + at.g + i % 2 * 8, channel + i / 2 * 8);
        const float low = __expf(own.x - meet[i / 2].x), high = __expf(own.y - meet[i / 2].y);
        queries[i] = scale_pair(queries[i], low, high);
        readers[i] = scale_pair(readers[i], low, high);
      }
#pragma unroll
      for (int pair = 0; pair < kChunk / 16 - 1; ++pair) {
        if (pair >= at.warp) continue;
        uint32_t b[4];
        right_by_rows<kSize>(b, k, pair, d);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          b[i] = keep(b[i], 16 * pair + i / 2 * 8 + at.g, channel + i % 2 * 8, meet[i % 2]);
        }
        multiply_pair(scores.q[2 * pair], scores.q[2 * pair + 1], queries, b);
        multiply_pair(scores.k[2 * pair], scores.k[2 * pair + 1], readers, b);
      }
    }
  }

  /// Readers 8 .. 15 of the block with keys 0 .. 7: rows 0 .. 7 of c are queries, the others keys.
  __device__ __forceinline__ void eights(float (&c)[4]) const {
    const int first = 16 * at.warp, matrix = at.lane / 8;
#pragma unroll 2
    for (int d = 0; d < kSize / 16; ++d) {
      const int channel = 16 * d + 2 * at.t;
      const float2 meet[2] = {sum(first + 8, channel), sum(first + 8, channel + 8)};
      uint32_t a[4], b[2];
      load_matrices(a, (matrix % 2 == 0 ? q : k) +
                           swizzled<2 * kSize>(first + 8 + at.lane % 8, 2 * d + matrix / 2));
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        a[i] = read(a[i], first + 8 + at.g, channel + i / 2 * 8, meet[i / 2]);
      }
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        b[i] = keep(key(first + at.g, channel + 8 * i), first + at.g, channel + 8 * i, meet[i]);
      }
      multiply_add(c, a, b[0], b[1]);
    }
  }

  /// Of both eights of the block, readers 4 .. 7 with keys 0 .. 3. Rows of c: 4 queries and 4 keys
  /// of the first eight, then of the second; columns: 4 keys of each. What belongs to different
  /// eights is nothing.
  __device__ __forceinline__ void fours(float (&c)[4]) const {
    const int first = 16 * at.warp, matrix = at.lane / 8, own = first + at.g / 4 * 8;
#pragma unroll 2
    for (int d = 0; d < kSize / 16; ++d) {
      const int channel = 16 * d + 2 * at.t;
      uint32_t a[4], b[2];
      load_matrices(a, (at.lane % 8 < 4 ? q : k) +
                           swizzled<2 * kSize>(first + 8 * (matrix % 2) + 4 + at.lane % 4,
                                               2 * d + matrix / 2));
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int meet = first + i % 2 * 8 + 4, of = channel + i / 2 * 8;
        a[i] = read(a[i], meet + at.g % 4, of, sum(meet, of));
      }
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int row = own + at.g % 4, of = channel + 8 * i;
        b[i] = keep(key(row, of), row, of, sum(own + 4, of));
      }
      multiply_add(c, a, b[0], b[1]);
    }
  }
};

/// Scores inside four neighbouring tokens, number by number: eight lanes share their channels, the
/// warp takes its block's four fours.
struct FourTokens {
  float q[4][4], k[4][4];  // [reader, key]

  template <int kSize>
  __device__ __forceinline__ void sum(const char* shared, const float* sums, int first) {
    using G = Geometry<kSize, true>;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
      for (int j = 0; j < 4; ++j) q[i][j] = k[i][j] = 0;
    }
#pragma unroll 2
    for (int step = 0; step < kSize / 16; ++step) {
      const int channel = 16 * step + threadIdx.x % 8 * 2;
      const auto numbers = [&](int tile, int row) {
        return pair_of(*reinterpret_cast<const uint32_t*>(
            shared + tile + swizzled<2 * kSize>(row, channel / 8) + channel % 8 * 2));
      };
      const auto sum_at = [&](int row) {
        return *reinterpret_cast<const float2*>(sums + row * G::kSumStride + channel);
      };
      float2 keys[4], before = {};
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float2 query = numbers(0, first + i), key = numbers(G::kTile, first + i);
        const float2 now = sum_at(first + i);
        if (i > 0) {
          const float low = __expf(now.x - before.x), high = __expf(now.y - before.y);
#pragma unroll
          for (int j = 0; j < i; ++j) keys[j].x *= low, keys[j].y *= high;
        }
        before = now, keys[i] = key;
#pragma unroll
        for (int j = 0; j <= i; ++j) {
          q[i][j] += query.x * keys[j].x + query.y * keys[j].y;
          if (j < i) k[i][j] += key.x * keys[j].x + key.y * keys[j].y;
        }
      }
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
      for (int j = 0; j <= i; ++j) {
#pragma unroll
        for (int offset = 4; offset > 0; offset /= 2) {
          q[i][j] += __shfl_xor_sync(~0U, q[i][j], offset);
          if (j < i) k[i][j] += __shfl_xor_sync(~0U, k[i][j], offset);
        }
      }
    }
  }

  template <class G>
  __device__ __forceinline__ void write(const Writer<G>& writer, int first) const {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
      for (int j = 0; j < 4; j += 2) {
        writer.score(first + i, first + j, q[i][j], q[i][j + 1]);
        writer.lower(first + i, first + j, k[i][j], k[i][j + 1]);
      }
    }
  }
};

template <int kSize>
__global__ void __launch_bounds__(kThreads)
    prepare_channels_kernel(const __grid_constant__ DeltaRuleWork work) {
  using G = Geometry<kSize, true>;
  extern __shared__ __align__(128) char shared[];
  const Chunk chunk = chunk_of_block(work);
  const Place at;
  const uint32_t q = shared_address(shared), k = q + G::kTile;
  float* const sums = reinterpret_cast<float*>(shared + G::kSums);
  float* const beta = reinterpret_cast<float*>(shared + G::kFactorsAt);
  ask_sums<kSize, kThreads, G::kSumStride>(sums, work.p, chunk.tokens);
  commit_copies();
  ask_inputs<kSize>(work.p, chunk.tokens, q, k);
  commit_copies();
  wait_copies<1>();
  __syncthreads();
  fill_sums<kSize>(work, chunk, sums, beta);
  wait_copies<0>();
  __syncthreads();
  store_decayed<kSize>(work, chunk, shared, sums);

  Scores scores;
  const Meeting<kSize> meeting{q, k, shared + G::kTile, sums, at};
  meeting.past(scores);
  float eights[4] = {}, fours[4] = {};
  meeting.eights(eights);
  meeting.fours(fours);
  FourTokens own;
  const int first = 16 * at.warp + at.lane / 8 * 4;
  own.sum<kSize>(shared, sums, first);
#pragma unroll
  for (int tile = 0; tile < kChunk / 8; tile += 2) {
    if (tile / 2 != at.warp) continue;
    scores.q[tile][2] = eights[0], scores.q[tile][3] = eights[1];
    scores.k[tile][2] = eights[2], scores.k[tile][3] = eights[3];
  }

  __syncthreads();  // L and the scores take the place of q and k
  const Writer<G> writer{shared, beta, work.p.scale};
  writer.rows(scores, at);
  __syncwarp();
  const float x = at.t < 2 ? fours[0] : fours[2], y = at.t < 2 ? fours[1] : fours[3];
  const int eight = 16 * at.warp + at.t / 2 * 8, row = eight + 4 + at.g % 4;
  if (at.g < 4) {
    writer.score(row, eight + at.t % 2 * 2, x, y);
  } else {
    writer.lower(row, eight + at.t % 2 * 2, x, y);
  }
  if (at.lane % 8 == 0) own.write(writer, first);
  finish<G>(work, chunk, shared);
}

template <int kSize, bool kChannels>
Status launch(const DeltaRuleWork& work, Stream stream) {
  constexpr int kBytes = Geometry<kSize, kChannels>::kBytes;
  const auto kernel = kChannels ? prepare_channels_kernel<kSize> : prepare_kernel<kSize>;
  const cudaError_t error =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes);
  if (error != cudaSuccess) return status_of(error);
  // Heads of the same tokens side by side: their rows are neighbours in memory.
  const dim3 blocks(static_cast<unsigned>(work.p.batch * work.p.heads),
                    static_cast<unsigned>(work.scratch.chunks));
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
