// The gradients of a chunk's tokens from what the chains left: S before it, dS after it, U and Z.
// A warp takes 16 tokens and a share of the channels; docs/kernels.md, "The delta rule", has the
// sums.
#include <algorithm>

#include "kernels/cuda/delta_rule_gradients_channels.cuh"

namespace hypenet::kernels::cuda {
namespace {

/// dv = beta Z, and Z v of each token.
template <int kSize>
__device__ __forceinline__ void write_values(const DeltaRuleBackwardWork& work,
                                             const HeadTokens& tokens, const char* drows,
                                             const float* beta, float* products) {
  constexpr int kPieces = kSize / 8;
#pragma unroll 2
  for (int i = threadIdx.x; i < kChunk * kPieces; i += kGradientThreads) {
    const int row = i / kPieces, piece = i % kPieces;
    const int64_t at = (tokens.first + row * tokens.stride) * kSize + 8 * piece;
    const uint4 z4 = *reinterpret_cast<const uint4*>(drows + swizzled<2 * kSize>(row, piece));
    const uint32_t z[4] = {z4.x, z4.y, z4.z, z4.w};
    float product = 0;
    if (row < tokens.rows) {
      const uint4 v4 =
          *reinterpret_cast<const uint4*>(static_cast<const char*>(work.p.forward.v) + 2 * at);
      const uint32_t v[4] = {v4.x, v4.y, v4.z, v4.w};
      uint32_t dv[4];
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const float2 a = pair_of(z[j]), b = pair_of(v[j]);
        product += a.x * b.x + a.y * b.y;
        dv[j] = pack(a.x * beta[row], a.y * beta[row]);
      }
      *reinterpret_cast<uint4*>(static_cast<char*>(work.p.dv) + 2 * at) =
          make_uint4(dv[0], dv[1], dv[2], dv[3]);
    }
#pragma unroll
    for (int offset = kPieces / 2; offset > 0; offset /= 2) {
      product += __shfl_xor_sync(~0U, product, offset);
    }
    if (piece == 0) products[row] = product;
  }
}

/// dq and Y = (Z S^T + sum_j Z U^T k_j), decayed, of a decay per token.
template <int kSize>
__device__ __forceinline__ void read_past(ShareSums<kSize>& dq, ShareSums<kSize>& y, uint32_t base,
                                          uint32_t scores, const float* factors, float scale,
                                          const Share& at) {
  using G = GradientGeometry<kSize, false, 1>;
  for_each_pair<kSize>(at, [&](int tile, int i, int row, int) {
    const float gate = factors[kGate * kChunk + row];
    scale_by(dq.x[tile] + i, make_float2(gate * scale, gate * scale));
    scale_by(y.x[tile] + i, make_float2(gate, gate));
  });
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    if (j > at.block) continue;
    ScoreFactors factor;
    factor.get(scores, at.block, j);
#pragma unroll
    for (int pair = 0; pair < kSize / 16 / kParts; ++pair) {
      uint32_t b[4];
      right_by_columns<kSize>(b, base + G::kKeys, at.part * (kSize / 16 / kParts) + pair, j);
      multiply_pair(dq.x[2 * pair], dq.x[2 * pair + 1], factor.a[kHigh], b);
      multiply_pair(y.x[2 * pair], y.x[2 * pair + 1], factor.a[kLowerHigh], b);
      multiply_pair(dq.x[2 * pair], dq.x[2 * pair + 1], factor.a[kLow], b);
      multiply_pair(y.x[2 * pair], y.x[2 * pair + 1], factor.a[kLowerLow], b);
    }
  }
}

/// dk as a key, of a decay per token: U dS^T, decayed, plus what later readers took.
template <int kSize>
__device__ __forceinline__ void read_future(ShareSums<kSize>& dk, uint32_t base, uint32_t scores,
                                            const float* factors, const Share& at) {
  using G = GradientGeometry<kSize, false, 1>;
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    if (j < at.block) continue;
    ScoreFactors factor;
    factor.get_transposed(scores, at.block, j, factors + kBeta * kChunk, at.t);
#pragma unroll
    for (int pair = 0; pair < kSize / 16 / kParts; ++pair) {
      const int columns = at.part * (kSize / 16 / kParts) + pair;
      uint32_t b[4];
      right_by_columns<kSize>(b, base + G::kQueries, columns, j);
      multiply_pair(dk.x[2 * pair], dk.x[2 * pair + 1], factor.a[kHigh], b);
      multiply_pair(dk.x[2 * pair], dk.x[2 * pair + 1], factor.a[kLow], b);
      right_by_columns<kSize>(b, base + G::kKeys, columns, j);
      multiply_pair(dk.x[2 * pair], dk.x[2 * pair + 1], factor.a[kLowerHigh], b);
      multiply_pair(dk.x[2 * pair], dk.x[2 * pair + 1], factor.a[kLowerLow], b);
    }
  }
}

/// The sum over columns v of S .* dS: of all channels, a part a warp, or of each, in kShares parts.
template <int kSize, bool kChannels>
__device__ __forceinline__ void compare_states(const char* shared, float* parts) {
  using G = GradientGeometry<kSize, kChannels, 1>;
  if constexpr (kChannels) {
    constexpr int kPairs = kSize / 2,
                  kShare = GradientGeometry<kSize, true, 1>::kShares;  // shares of the rows
    const int channel = static_cast<int>(threadIdx.x) % kPairs * 2, share = threadIdx.x / kPairs;
    float2 sum = {};
#pragma unroll 4
    for (int row = share; row < kSize; row += kShare) {
      const float2 a = numbers_at<kSize>(shared + G::kStates, row, channel);
      const float2 b = numbers_at<kSize>(shared + G::kDstates, row, channel);
      sum.x += a.x * b.x, sum.y += a.y * b.y;
    }
    *reinterpret_cast<float2*>(parts + share * kSize + channel) = sum;
  } else {
    float sum = 0;
#pragma unroll 4
    for (int i = threadIdx.x; i < G::kMatrix / 16; i += kGradientThreads) {
      const uint4 a = reinterpret_cast<const uint4*>(shared + G::kStates)[i];
      const uint4 b = reinterpret_cast<const uint4*>(shared + G::kDstates)[i];
      const uint32_t x[4] = {a.x, a.y, a.z, a.w}, y[4] = {b.x, b.y, b.z, b.w};
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const float2 s = pair_of(x[j]), d = pair_of(y[j]);
        sum += s.x * d.x + s.y * d.y;
      }
    }
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_xor_sync(~0U, sum, offset);
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = sum;
  }
}

/// The reverse sum over the chunk of dG, to ddecay; dbeta. By one warp, two tokens a lane.
__device__ __forceinline__ void store_decays(const DeltaRuleBackwardWork& work,
                                             const HeadTokens& tokens, const float* row_sums,
                                             const float* products, const float* parts,
                                             const float* factors) {
  const int lane = threadIdx.x;
  const auto row_sum = [&](int which, int row) {
    return sum_of_parts(row_sums + which * kParts * kChunk + row);
  };
  float states = 0;
  for (int i = 0; i < kGradientThreads / 32; ++i) states += parts[i];
  float own[2], tails[2];
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int row = 2 * lane + i;
    const float b = factors[kBeta * kChunk + row], ky = row_sum(1, row);
    own[i] = row_sum(0, row) - b * ky - row_sum(2, row);
    tails[i] = row_sum(3, row);
    if (row < tokens.rows) {
      work.p.dbeta[tokens.first + row * tokens.stride] = products[row] - ky;
    }
  }
  float after = own[0] + own[1], tail = tails[0] + tails[1];
#pragma unroll
  for (int offset = 1; offset < 32; offset *= 2) {
    const float other = __shfl_down_sync(~0U, after, offset);
    if (lane + offset < 32) after += other;
    tail += __shfl_xor_sync(~0U, tail, offset);
  }
  const float end = states * factors[kGate * kChunk + kChunk - 1] + tail;
  const float both[2] = {after, after - own[0]};
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int row = 2 * lane + i;
    if (row < tokens.rows) {
      work.p.ddecay[tokens.first + row * tokens.stride] = -(both[i] + end);
    }
  }
}

/// Asks for a chunk's tensors.
template <class G, int kSize>
struct Asker {
  const DeltaRuleBackwardWork& work;
  uint32_t base;
  int64_t piece;
  HeadTokens tokens;

  __device__ __forceinline__ Asker(const DeltaRuleBackwardWork& of, uint32_t shared, int64_t item)
      : work(of), base(shared) {
    const int64_t heads = of.p.forward.batch * of.p.forward.heads;
    const int64_t head = item % heads, chunk = item / heads;
    piece = head * of.scratch.chunks + chunk, tokens = tokens_of(of.p.forward, head, chunk);
  }
  __device__ __forceinline__ void tensor(uint32_t to, const void* from) const {
    ask_tile<kSize, kGradientThreads>(to, static_cast<const char*>(from) + tokens.first * kSize * 2,
                                      tokens.stride * kSize * 2, tokens.rows);
  }
  __device__ __forceinline__ void set(int number) const {
    const uint32_t to = base + G::kFirstSet + number * G::kSet;
    ask_floats<kFactors * kChunk, kGradientThreads>(
        base + G::kFactorsAt + number * G::kFactorBytes,
        work.scratch.factors + piece * (kFactors * kChunk));
    tensor(to + kDoutput * G::kTile, work.p.doutput);
    ask_tile<kSize, kGradientThreads>(to + kDrows * G::kTile, work.scratch.drows + piece * G::kTile,
                                      2 * kSize, kChunk);
    ask_tile<kSize, kGradientThreads>(to + kRows * G::kTile, work.scratch.rows + piece * G::kTile,
                                      2 * kSize, kChunk);
  }
  __device__ __forceinline__ void states() const {
    ask_tile<kSize, kGradientThreads, kSize>(
        base + G::kStates, work.scratch.states + piece * G::kMatrix, 2 * kSize, kSize);
    ask_tile<kSize, kGradientThreads, kSize>(
        base + G::kDstates, work.scratch.dstates + piece * G::kMatrix, 2 * kSize, kSize);
  }
  __device__ __forceinline__ void inputs() const {
    tensor(base + G::kKeys, work.p.forward.k);
    tensor(base + G::kQueries, work.p.forward.q);
  }
};

template <int kSize, bool kChannels, int kSets>
__global__ void __launch_bounds__(kGradientThreads, 1)
    gradients_kernel(const __grid_constant__ DeltaRuleBackwardWork work) {
  using G = GradientGeometry<kSize, kChannels, kSets>;
  extern __shared__ __align__(128) char shared[];
  const DeltaRuleParams& p = work.p.forward;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const Share at{lane, lane / 4, lane % 4, warp % 4, warp / 4};
  const uint32_t base = shared_address(shared);
  float* const sums = reinterpret_cast<float*>(shared + G::kSums);
  float* const row_sums = reinterpret_cast<float*>(shared + G::kRowSums);
  float* const products = reinterpret_cast<float*>(shared + G::kProductsAt);
  float* const parts = reinterpret_cast<float*>(shared + G::kPartsAt);
  const int64_t items = p.batch * p.heads * work.scratch.chunks;
  int number = 0;  // of the set
  {
    const Asker<G, kSize> first(work, base, blockIdx.x);
    if constexpr (kChannels)
      ask_sums<kSize, kGradientThreads, G::kSumStride>(sums, p, first.tokens);
    first.set(0);
    commit_copies();
    first.states();
    commit_copies();
  }
  // With one set a block has one chunk.
  for (int64_t item = blockIdx.x; item < items; item += gridDim.x) {
    const Asker<G, kSize> own(work, base, item);
    const int64_t next = item + gridDim.x;
    const HeadTokens& tokens = own.tokens;
    const uint32_t set = base + G::kFirstSet + number * G::kSet;
    const float* const factors =
        reinterpret_cast<const float*>(shared + G::kFactorsAt + number * G::kFactorBytes);
    const float* const beta = factors + kBeta * kChunk;
    wait_copies<1>();
    __syncthreads();
    own.inputs();
    commit_copies();
    if (kSets == 2 && next < items) Asker<G, kSize>(work, base, next).set(1 - number);
    commit_copies();
    if constexpr (kChannels) {
      for (int channel = threadIdx.x; channel < kSize; channel += kGradientThreads) {
        float sum = 0;
#pragma unroll 16
        for (int row = 0; row < kChunk; ++row) {
          float* const place = sums + row * G::kSumStride + channel;
          sum -= *place;
          *place = sum;
        }
      }
    }
    ScoreGradients scores;
    make_scores<kSize, kChannels>(scores, work, set, reinterpret_cast<float2*>(shared + G::kBlocks),
                                  factors, at);
    write_values<kSize>(work, tokens, shared + (set - base) + kDrows * G::kTile, beta, products);
    wait_copies<2>();
    __syncthreads();

    ShareSums<kSize> dq = {}, y = {}, dk = {};
#pragma unroll
    for (int d = 0; d < kSize / 16; ++d) {
      uint32_t a[4], z[4], b[4];
      left_of<kSize>(a, set + kDoutput * G::kTile, at.block, d);
      left_of<kSize>(z, set + kDrows * G::kTile, at.block, d);
#pragma unroll
      for (int pair = 0; pair < kSize / 16 / kParts; ++pair) {
        right_by_columns<kSize>(b, base + G::kStates, at.part * (kSize / 16 / kParts) + pair, d);
        multiply_pair(dq.x[2 * pair], dq.x[2 * pair + 1], a, b);
        multiply_pair(y.x[2 * pair], y.x[2 * pair + 1], z, b);
      }
    }
    compare_states<kSize, kChannels>(shared, parts);
#pragma unroll
    for (int d = 0; d < kSize / 16; ++d) {
      uint32_t a[4];
      left_of<kSize>(a, set + kRows * G::kTile, at.block, d);
      add_product<kSize>(dk, a, base + G::kDstates, at, d);
    }
    const uint32_t squares = G::kFits ? set : base + G::kSquaresAt;
    wait_copies<1>();
    __syncthreads();  // scores take the place of do and Z, the next states that of these
    store_scores(shared + (squares - base), scores, at);
    if (kSets == 2 && next < items) Asker<G, kSize>(work, base, next).states();
    commit_copies();
    __syncthreads();
    if constexpr (kChannels) {
      read_past_channels<kSize>(dq, y, base, squares, sums, p.scale, at);
    } else {
      read_past<kSize>(dq, y, base, squares, factors, p.scale, at);
    }
    // k (U dS^T) to the end of the chunk: of a token's channels, or of a channel's tokens.
    float tails[2] = {};
    if constexpr (kChannels) {
      store_tails<kSize>(parts + G::kShares * kSize, dk, shared, sums, at);
      read_future_channels<kSize>(dk, base, squares, sums, beta, at);
      __syncthreads();  // sums within blocks take the tiles' place
      sum_within<kSize>(shared, beta);
      __syncthreads();
      add_within<kSize>(dq, y, dk, shared, at);
    } else {
      for_each_pair<kSize>(at, [&](int tile, int i, int row, int channel) {
        const float2 k = numbers_at<kSize>(shared + G::kKeys, row, channel);
        const float tail = factors[kTail * kChunk + row];
        scale_by(dk.x[tile] + i, make_float2(tail, tail));
        tails[i / 2] += k.x * dk.x[tile][i] + k.y * dk.x[tile][i + 1];
      });
      read_future<kSize>(dk, base, squares, factors, at);
    }

    store_rows<kSize>(work.p.dq, dq, tokens, at);
    float of_q[2] = {}, of_y[2] = {}, of_k[2] = {};
    for_each_pair<kSize>(at, [&](int tile, int i, int row, int channel) {
      const float2 q = numbers_at<kSize>(shared + G::kQueries, row, channel);
      const float2 k = numbers_at<kSize>(shared + G::kKeys, row, channel);
      float *const a = dq.x[tile] + i, *const b = y.x[tile] + i, *const c = dk.x[tile] + i;
      of_y[i / 2] += k.x * b[0] + k.y * b[1];
      if constexpr (kChannels) {
        // dG takes the place of dq.
        const float minus = beta[row];
        a[0] = q.x * a[0] - k.x * (minus * b[0] + c[0]);
        a[1] = q.y * a[1] - k.y * (minus * b[1] + c[1]);
      } else {
        of_q[i / 2] += q.x * a[0] + q.y * a[1], of_k[i / 2] += k.x * c[0] + k.y * c[1];
      }
      c[0] -= beta[row] * b[0], c[1] -= beta[row] * b[1];
    });
    store_rows<kSize>(work.p.dk, dk, tokens, at);
    store_row_sums(row_sums + kParts * kChunk, of_y, at);
    if constexpr (!kChannels) {
      store_row_sums(row_sums, of_q, at);
      store_row_sums(row_sums + 2 * kParts * kChunk, of_k, at);
      store_row_sums(row_sums + 3 * kParts * kChunk, tails, at);
      __syncthreads();
      if (warp == 0) store_decays(work, tokens, row_sums, products, parts, factors);
    } else {
      float* const dsums = reinterpret_cast<float*>(shared + G::kWithin);
      for_each_pair<kSize>(at, [&](int tile, int i, int row, int channel) {
        *reinterpret_cast<float2*>(dsums + row * G::kSumStride + channel) =
            make_float2(dq.x[tile][i], dq.x[tile][i + 1]);
      });
      __syncthreads();
      if (static_cast<int>(threadIdx.x) < tokens.rows) {
        const int row = threadIdx.x;
        work.p.dbeta[tokens.first + row * tokens.stride] =
            products[row] - sum_of_parts(row_sums + kParts * kChunk + row);
      }
      store_channel_decays<kSize>(work, tokens, dsums, parts, sums);
    }
    number = kSets - 1 - number;
  }
}

template <int kSize, bool kChannels, int kSets>
Status launch(const DeltaRuleBackwardWork& work, Stream stream) {
  constexpr int kBytes = GradientGeometry<kSize, kChannels, kSets>::kBytes;
  const auto kernel = gradients_kernel<kSize, kChannels, kSets>;
  const cudaError_t error =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes);
  if (error != cudaSuccess) return status_of(error);
  const DeltaRuleParams& p = work.p.forward;
  const int64_t items = p.batch * p.heads * work.scratch.chunks;
  const auto blocks =
      static_cast<unsigned>(kSets == 1 ? items : std::min(items, processors_of_device()));
  kernel<<<blocks, kGradientThreads, kBytes, cuda_stream(stream)>>>(work);
  return launch_status();
}

template <int kSize>
Status launch_size(const DeltaRuleBackwardWork& work, Stream stream) {
  if (work.p.forward.is_per_channel) return launch<kSize, true, 1>(work, stream);
  const bool fits = shared_of_block() >= GradientGeometry<kSize, false, 2>::kBytes;
  return fits ? launch<kSize, false, 2>(work, stream) : launch<kSize, false, 1>(work, stream);
}

}  // namespace

int64_t delta_rule_gradients_bytes(int64_t size, bool is_per_channel) {
  if (is_per_channel) {
    return size == 64 ? GradientGeometry<64, true, 1>::kBytes
                      : GradientGeometry<128, true, 1>::kBytes;
  }
  return size == 64 ? GradientGeometry<64, false, 1>::kBytes
                    : GradientGeometry<128, false, 1>::kBytes;
}

Status delta_rule_gradients(const DeltaRuleBackwardWork& work, Stream stream) {
  return work.p.forward.size == 64 ? launch_size<64>(work, stream) : launch_size<128>(work, stream);
}

}  // namespace hypenet::kernels::cuda
