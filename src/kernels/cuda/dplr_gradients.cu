// The gradients of a chunk's tokens from S before it and dS after it. A warp takes 16 tokens and 32
// channels; docs/kernels.md, "RWKV-7", has the sums.
#include "kernels/cuda/dplr_gradients_rows.cuh"

namespace hypenet::kernels::cuda {
namespace {

/// Tokens at their block's start.
template <int kSize>
__device__ __forceinline__ void write_tokens(TokenDecays<kSize>& own, const DplrParams& p,
                                             char* shared) {
  using G = DplrGradientGeometry<kSize>;
  own.read(p.decay, reinterpret_cast<float*>(shared + G::kDecayParts));
  own.write_starts(reinterpret_cast<float*>(shared + G::kStarts));
  float2 before = own.kept(-1);
#pragma unroll 4
  for (int i = 0; i < kOwnTokens; ++i) {
    const float2 now = own.kept(i), grown = inverse_of(now);
    const uint32_t place = pair_place<kSize>(own.row(i), own.channel);
    const auto put = [&](int which, const void* from, float2 by) {
      *reinterpret_cast<uint32_t*>(shared + G::kAtBlock + which * G::kTile + place) =
          scale_pair(pair_at(own, from, i), by.x, by.y);
    };
    put(0, p.a, before), put(1, p.r, now), put(2, p.b, grown), put(3, p.k, grown);
    before = now;
  }
}

/// What is left of their block's start at each token.
template <int kSize>
__device__ __forceinline__ void write_kept(const TokenDecays<kSize>& own, char* shared) {
#pragma unroll
  for (int i = 0; i < kOwnTokens; ++i) {
    *reinterpret_cast<float2*>(shared + DplrGradientGeometry<kSize>::kKept +
                               4 * float_pair<kSize>(own.row(i), own.channel)) = own.kept(i);
  }
}

/// Readers' gradients: r's and a's from what they read of the state at the chunk's start, moved to
/// their own block's start as they meet the keys on their way.
template <int kSize>
__device__ __forceinline__ void read_past(DplrSums& dr, DplrSums& da, const char* shared,
                                          const DplrOwn& at) {
  using G = DplrGradientGeometry<kSize>;
  const uint32_t base = shared_address(shared), squares = base + G::kDscores;
#pragma unroll 1
  for (int keys = 0; keys <= at.block; ++keys) {
    if (keys > 0) {
      float2 kept[4];
      kept_between<kSize>(kept, shared, keys, keys - 1, at);
      dr.scale(kept), da.scale(kept);
    }
#pragma unroll
    for (int kind = 0; kind < 2; ++kind) {  // k, b
      uint32_t a[4];
      const uint32_t tile = base + G::kAtBlock + (3 - kind) * G::kTile;
#pragma unroll
      for (int low = 0; low < 2; ++low) {
        left_of<kChunk>(a, squares + (2 * kind + low) * G::kSquare, at.block, keys);
        dr.add<kSize>(a, tile, at, keys);
        left_of<kChunk>(a, squares + (4 + 2 * kind + low) * G::kSquare, at.block, keys);
        da.add<kSize>(a, tile, at, keys);
      }
    }
  }
}

/// Keys' gradients, likewise from the chunk's end.
template <int kSize>
__device__ __forceinline__ void read_future(DplrSums& dk, DplrSums& db, const char* shared,
                                            const DplrOwn& at) {
  using G = DplrGradientGeometry<kSize>;
  const uint32_t base = shared_address(shared), squares = base + G::kDscores;
#pragma unroll 1
  for (int readers = 3; readers >= at.block; --readers) {
    float2 kept[4];
    kept_between<kSize>(kept, shared, readers + 1, readers, at);
    dk.scale(kept), db.scale(kept);
#pragma unroll
    for (int kind = 0; kind < 2; ++kind) {  // r, a
      uint32_t a[4];
      const uint32_t tile = base + G::kAtBlock + (1 - kind) * G::kTile;
#pragma unroll
      for (int low = 0; low < 2; ++low) {
        left_transposed<kChunk>(a, squares + (4 * kind + low) * G::kSquare, at.block, readers);
        dk.add<kSize>(a, tile, at, readers);
        left_transposed<kChunk>(a, squares + (4 * kind + 2 + low) * G::kSquare, at.block, readers);
        db.add<kSize>(a, tile, at, readers);
      }
    }
  }
}

/// k (V dS^T) + b (Y dS^T) to the end of the chunk, of a warp's channels: the sum over its tokens.
template <int kSize>
__device__ __forceinline__ void store_tails(char* shared, const DplrSums& dk, const DplrSums& db,
                                            const DplrOwn& at) {
  using G = DplrGradientGeometry<kSize>;
  float2 kept[4];
  kept_between<kSize>(kept, shared, 4, at.block, at);
#pragma unroll
  for (int n = 0; n < 4; ++n) {
    float2 sum = {};
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const char* const from =
          shared + G::kAtBlock + pair_place<kSize>(at.row(half), at.channel(n));
      const float2 b = pair_of(*reinterpret_cast<const uint32_t*>(from + 2 * G::kTile));
      const float2 k = pair_of(*reinterpret_cast<const uint32_t*>(from + 3 * G::kTile));
      sum.x += k.x * dk.x[n][2 * half] + b.x * db.x[n][2 * half];
      sum.y += k.y * dk.x[n][2 * half + 1] + b.y * db.x[n][2 * half + 1];
    }
#pragma unroll
    for (int offset = 4; offset < 32; offset *= 2) {
      sum.x += __shfl_xor_sync(~0U, sum.x, offset), sum.y += __shfl_xor_sync(~0U, sum.y, offset);
    }
    if (at.g == 0) {
      *reinterpret_cast<float2*>(shared + G::kTails + 4 * (at.block * kSize + at.channel(n))) =
          times(sum, kept[n]);
    }
  }
}

/// What a token's numbers add to the gradient of its sum of decays, from the very numbers that the
/// products were made of, so that what a pair adds at both ends cancels.
template <int kSize>
__device__ __forceinline__ void store_sums(char* shared, const DplrSums& dr, const DplrSums& da,
                                           const DplrSums& dk, const DplrSums& db,
                                           const DplrOwn& at) {
  using G = DplrGradientGeometry<kSize>;
#pragma unroll
  for (int n = 0; n < 4; ++n) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = at.row(half), channel = at.channel(n), i = 2 * half;
      const char* const from = shared + G::kAtBlock + pair_place<kSize>(row, channel);
      const auto number = [&](int which) {
        return pair_of(*reinterpret_cast<const uint32_t*>(from + which * G::kTile));
      };
      const float2 of_a = times(number(0), make_float2(da.x[n][i], da.x[n][i + 1]));
      const float2 r = times(number(1), make_float2(dr.x[n][i], dr.x[n][i + 1]));
      const float2 b = times(number(2), make_float2(db.x[n][i], db.x[n][i + 1]));
      const float2 k = times(number(3), make_float2(dk.x[n][i], dk.x[n][i + 1]));
      const int place = 4 * float_pair<kSize>(row, channel);
      *reinterpret_cast<float2*>(shared + G::kOfA + place) = of_a;
      *reinterpret_cast<float2*>(shared + G::kSums + place) =
          make_float2(r.x + of_a.x - b.x - k.x, r.y + of_a.y - b.y - k.y);
    }
  }
}

/// Scales the sums from their block's start to their tokens, and stores them.
template <int kSize>
__device__ __forceinline__ void store_gradients(const DplrBackwardParams& p,
                                                const HeadTokens& tokens, const char* shared,
                                                DplrSums& dr, DplrSums& da, DplrSums& dk,
                                                DplrSums& db, const DplrOwn& at) {
  using G = DplrGradientGeometry<kSize>;
#pragma unroll
  for (int n = 0; n < 4; n += 2) {
    uint32_t x[4][2][2];  // gradient, half, eight
#pragma unroll
    for (int eight = 0; eight < 2; ++eight) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int row = at.row(half), channel = at.channel(n + eight), i = 2 * half;
        const auto kept = [&](int of) {
          return *reinterpret_cast<const float2*>(shared + G::kKept +
                                                  4 * float_pair<kSize>(of, channel));
        };
        const float2 now = kept(row), grown = inverse_of(now);
        const float2 before = row % 16 == 0 ? make_float2(1, 1) : kept(row - 1);
        const auto scaled = [&](const DplrSums& sums, float2 by) {
          return pack(sums.x[n + eight][i] * by.x, sums.x[n + eight][i + 1] * by.y);
        };
        x[0][half][eight] = scaled(dr, now), x[1][half][eight] = scaled(da, before);
        x[2][half][eight] = scaled(dk, grown), x[3][half][eight] = scaled(db, grown);
      }
    }
    void* const to[4] = {p.dr, p.da, p.dk, p.db};
#pragma unroll
    for (int which = 0; which < 4; ++which) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int row = at.row(half);
        const int64_t place = (tokens.first + row * tokens.stride) * kSize + 32 * at.part + 8 * n;
        store_halves(static_cast<char*>(to[which]) + 2 * place, x[which][half][0],
                     x[which][half][1], row < tokens.rows);
      }
    }
  }
}

/// ddecay: minus the reverse sum over the chunk, and what its last state adds.
template <int kSize>
__device__ __forceinline__ void store_decays(float* ddecay, const HeadTokens& tokens,
                                             char* shared) {
  using G = DplrGradientGeometry<kSize>;
  const TokenDecays<kSize> own(tokens);
  const auto floats = [&](int at, int row) {
    return *reinterpret_cast<const float2*>(shared + at + 4 * (row * kSize + own.channel));
  };
  float2 sums[kOwnTokens], sum = {};
#pragma unroll
  for (int i = kOwnTokens - 1; i >= 0; --i) {
    const int place = 4 * float_pair<kSize>(own.row(i), own.channel);
    const float2 x = *reinterpret_cast<const float2*>(shared + G::kSums + place);
    const float2 a = *reinterpret_cast<const float2*>(shared + G::kOfA + place);
    sum.x += x.x, sum.y += x.y;
    sums[i] = make_float2(sum.x - a.x, sum.y - a.y);
  }
  *reinterpret_cast<float2*>(shared + G::kDecayParts + 4 * (own.group * kSize + own.channel)) = sum;
  __syncthreads();
  float2 end = {};
#pragma unroll
  for (int share = 0; share < kTokenGroups; ++share) {
    const float2 x = floats(G::kStateParts, share);
    end.x += x.x, end.y += x.y;
  }
  end = times(end, exp_between(floats(G::kStarts, 4), make_float2(0, 0)));
#pragma unroll
  for (int block = 0; block < 4; ++block) {
    const float2 x = floats(G::kTails, block);
    end.x += x.x, end.y += x.y;
  }
  for (int group = own.group + 1; group < kTokenGroups; ++group) {
    const float2 x = floats(G::kDecayParts, group);
    end.x += x.x, end.y += x.y;
  }
#pragma unroll
  for (int i = 0; i < kOwnTokens; ++i) {
    if (own.row(i) < tokens.rows) {
      *reinterpret_cast<float2*>(ddecay + own.place(i)) =
          make_float2(-(sums[i].x + end.x), -(sums[i].y + end.y));
    }
  }
}

template <int kSize>
__global__ void __launch_bounds__(kTokenThreads<kSize>, kSize == 64 ? 2 : 1)
    gradients_kernel(const __grid_constant__ DplrBackwardWork work) {
  using G = DplrGradientGeometry<kSize>;
  extern __shared__ __align__(128) char shared[];
  const int64_t head = blockIdx.x, chunk = blockIdx.y;
  const HeadTokens tokens = tokens_of(work.p.forward, head, chunk);
  const uint32_t base = shared_address(shared);
  const DplrOwn at;
  ask_all<kSize>(work, tokens, head * work.scratch.chunks + chunk, base);
  wait_copies<0>();
  __syncthreads();
  make_rows<kSize>(work, tokens, shared);
  compare_states<kSize>(shared);
  __syncthreads();

  DplrSums dr, da, dk, db;
#pragma unroll
  for (int d = 0; d < kSize / 16; ++d) {
    uint32_t a[4];
    left_of<kSize>(a, base + G::kLeft, at.block, d);
    dr.add<kSize>(a, base + G::kStates, at, d);
    left_of<kSize>(a, base + G::kLeft + G::kTile, at.block, d);
    da.add<kSize>(a, base + G::kStates, at, d);
  }
  {
    DplrScoreGradients<kSize> scores = {};
    scores.make(base, at);
    __syncthreads();  // they take the place of S, among others
    scores.store(shared + G::kDscores, at);
  }
#pragma unroll
  for (int d = 0; d < kSize / 16; ++d) {
    uint32_t a[4];
    left_of<kSize>(a, base + G::kRight, at.block, d);
    dk.add<kSize>(a, base + G::kDstates, at, d);
    left_of<kSize>(a, base + G::kRight + G::kTile, at.block, d);
    db.add<kSize>(a, base + G::kDstates, at, d);
  }
  __syncthreads();  // tokens take the place of v, Y, dO and Z
  TokenDecays<kSize> own(tokens);
  write_tokens<kSize>(own, work.p.forward, shared);
  __syncthreads();
  store_tails<kSize>(shared, dk, db, at);
  read_past<kSize>(dr, da, shared, at);
  read_future<kSize>(dk, db, shared, at);
  __syncthreads();  // floats take the place of the scores' gradients
  write_kept<kSize>(own, shared);
  store_sums<kSize>(shared, dr, da, dk, db, at);
  __syncthreads();
  store_gradients<kSize>(work.p, tokens, shared, dr, da, dk, db, at);
  store_decays<kSize>(work.p.ddecay, tokens, shared);
}

template <int kSize>
Status launch(const DplrBackwardWork& work, Stream stream) {
  using G = DplrGradientGeometry<kSize>;
  const auto kernel = gradients_kernel<kSize>;
  const cudaError_t error =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, G::kBytes);
  if (error != cudaSuccess) return status_of(error);
  const DplrParams& p = work.p.forward;
  const dim3 blocks(static_cast<unsigned>(p.batch * p.heads),
                    static_cast<unsigned>(work.scratch.chunks));
  kernel<<<blocks, G::kThreads, G::kBytes, cuda_stream(stream)>>>(work);
  return launch_status();
}

}  // namespace

int64_t dplr_gradients_bytes(int64_t size) {
  return size == 64 ? DplrGradientGeometry<64>::kBytes : DplrGradientGeometry<128>::kBytes;
}

Status dplr_gradients(const DplrBackwardWork& work, Stream stream) {
  return work.p.forward.size == 64 ? launch<64>(work, stream) : launch<128>(work, stream);
}

}  // namespace hypenet::kernels::cuda
