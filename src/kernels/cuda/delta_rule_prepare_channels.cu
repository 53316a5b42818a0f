// What a chunk needs before its state is known, with a decay per channel:
// readers and keys meet at a token between them, by sixteens, eights and fours,
// so that no exponent is positive.
#include "kernels/cuda/delta_rule_prepare.cuh"

namespace hypenet::kernels::cuda {
namespace {

/// The sum of -decay up to each token, a channel a thread, and beta.
template <int kSize>
__device__ __forceinline__ void fill_sums(const DeltaRuleWork &work, const Chunk &chunk,
                                          float *sums, float *beta) {
  using G = PrepareGeometry<kSize, true>;
  const HeadTokens &at = chunk.tokens;
  const int thread = threadIdx.x;
  if (thread < kChunk) {
    const bool valid = thread < at.rows;
    beta[thread] = valid ? work.p.beta[at.first + thread * at.stride] : 0.0F;
    work.scratch.factors[chunk.piece * (kFactors * kChunk) + kBeta * kChunk + thread] =
        beta[thread];
  }
  for (int channel = thread; channel < kSize; channel += kPrepareThreads) {
    float sum = 0;
#pragma unroll 16
    for (int row = 0; row < kChunk; ++row) {
      float *const place = sums + row * G::kSumStride + channel;
      sum -= *place;
      *place = sum;
    }
    work.scratch.across[chunk.piece * kSize + channel] = __expf(sum);
  }
}

/// q e^G scale, k e^G and k e^(G_C - G), 8 channels a thread.
template <int kSize>
__device__ __forceinline__ void store_decayed(const DeltaRuleWork &work, const Chunk &chunk,
                                              const char *shared, const float *sums) {
  using G = PrepareGeometry<kSize, true>;
  constexpr int kPieces = kSize / 8;
  const int64_t base = chunk.piece * G::kTile;
  const float scale = work.p.scale;
#pragma unroll 2
  for (int i = threadIdx.x; i < kChunk * kPieces; i += kPrepareThreads) {
    const int row = i / kPieces, piece = i % kPieces;
    const char *const from = shared + swizzled<2 * kSize>(row, piece);
    const uint4 queries = *reinterpret_cast<const uint4 *>(from);
    const uint4 keys = *reinterpret_cast<const uint4 *>(from + G::kTile);
    const uint32_t q4[4] = {queries.x, queries.y, queries.z, queries.w};
    const uint32_t k4[4] = {keys.x, keys.y, keys.z, keys.w};
    uint32_t gated_q[4], gated_k[4], tails[4];
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const int channel = 8 * piece + 2 * j;
      const float2 g = *reinterpret_cast<const float2 *>(sums + row * G::kSumStride + channel);
      const float2 last =
          *reinterpret_cast<const float2 *>(sums + (kChunk - 1) * G::kSumStride + channel);
      const float low = __expf(g.x), high = __expf(g.y);
      gated_q[j] = scale_pair(q4[j], low * scale, high * scale);
      gated_k[j] = scale_pair(k4[j], low, high);
      tails[j] = scale_pair(k4[j], __expf(last.x - g.x), __expf(last.y - g.y));
    }
    const int64_t to = base + row * (2 * kSize) + 16 * piece;
    *reinterpret_cast<uint4 *>(work.scratch.queries + to) =
        make_uint4(gated_q[0], gated_q[1], gated_q[2], gated_q[3]);
    *reinterpret_cast<uint4 *>(work.scratch.keys + to) =
        make_uint4(gated_k[0], gated_k[1], gated_k[2], gated_k[3]);
    *reinterpret_cast<uint4 *>(work.scratch.tails + to) =
        make_uint4(tails[0], tails[1], tails[2], tails[3]);
  }
}

/// Readers and keys with a decay per channel meet at a token between them: both
/// have only faded since. What is read here is one warp's.
template <int kSize>
struct Meeting {
  using G = PrepareGeometry<kSize, true>;
  uint32_t q, k;  // tiles
  const char *keys;
  const float *sums;
  Place at;

  __device__ __forceinline__ float2 sum(int row, int channel) const {
    return *reinterpret_cast<const float2 *>(sums + row * G::kSumStride + channel);
  }
  /// A pair of numbers of `row` as it is at `meet`, which is before it (a
  /// reader) or after it.
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
    return *reinterpret_cast<const uint32_t *>(keys + swizzled<2 * kSize>(row, channel / 8) +
                                               channel % 8 * 2);
  }

  /// The warp's 16 readers with the keys of earlier blocks, at the warp's first
  /// token.
  __device__ __forceinline__ void past(Scores &scores) const {
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

  /// Readers 8 .. 15 of the block with keys 0 .. 7: rows 0 .. 7 of c are
  /// queries, the others keys.
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

  /// Of both eights of the block, readers 4 .. 7 with keys 0 .. 3. Rows of c: 4
  /// queries and 4 keys of the first eight, then of the second; columns: 4 keys
  /// of each. What belongs to different eights is nothing.
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

/// Scores inside four neighbouring tokens, number by number: eight lanes share
/// their channels, the warp takes its block's four fours.
struct FourTokens {
  float q[4][4], k[4][4];  // [reader, key]

  template <int kSize>
  __device__ __forceinline__ void sum(const char *shared, const float *sums, int first) {
    using G = PrepareGeometry<kSize, true>;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
      for (int j = 0; j < 4; ++j) q[i][j] = k[i][j] = 0;
    }
#pragma unroll 2
    for (int step = 0; step < kSize / 16; ++step) {
      const int channel = 16 * step + threadIdx.x % 8 * 2;
      const auto numbers = [&](int tile, int row) {
        return pair_of(*reinterpret_cast<const uint32_t *>(
            shared + tile + swizzled<2 * kSize>(row, channel / 8) + channel % 8 * 2));
      };
      const auto sum_at = [&](int row) {
        return *reinterpret_cast<const float2 *>(sums + row * G::kSumStride + channel);
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
  __device__ __forceinline__ void write(const Writer<G> &writer, int first) const {
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
__global__ void __launch_bounds__(kPrepareThreads)
    prepare_channels_kernel(const __grid_constant__ DeltaRuleWork work) {
  using G = PrepareGeometry<kSize, true>;
  extern __shared__ __align__(128) char shared[];
  const Chunk chunk = chunk_of_block(work);
  const Place at;
  const uint32_t q = shared_address(shared), k = q + G::kTile;
  float *const sums = reinterpret_cast<float *>(shared + G::kSums);
  float *const beta = reinterpret_cast<float *>(shared + G::kFactorsAt);
  ask_sums<kSize, kPrepareThreads, G::kSumStride>(sums, work.p, chunk.tokens);
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

}  // namespace

int64_t prepare_channels_bytes(int64_t size) {
  return size == 64 ? PrepareGeometry<64, true>::kBytes : PrepareGeometry<128, true>::kBytes;
}

Status prepare_channels(const DeltaRuleWork &work, Stream stream) {
  const auto bytes = static_cast<int>(prepare_channels_bytes(work.p.size));
  return work.p.size == 64 ? launch_prepare(prepare_channels_kernel<64>, bytes, work, stream)
                           : launch_prepare(prepare_channels_kernel<128>, bytes, work, stream);
}

}  // namespace hypenet::kernels::cuda
