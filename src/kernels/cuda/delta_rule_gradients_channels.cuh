// The parts of the gradients that a decay per channel needs: readers and keys meet at tokens
// between them, and inside a block of 16 they are multiplied number by number.
#pragma once

#include "kernels/cuda/delta_rule_gradients.cuh"

namespace hypenet::kernels::cuda {

/// A right factor (rows of tokens, columns of channels) times exp(sign (G - G of `meet`)).
template <int kSize>
__device__ __forceinline__ void fade(uint32_t (&b)[4], const float* sums, const float* meet,
                                     int block, int channel, float sign, const Share& at) {
  constexpr int kStride = GradientGeometry<kSize, true, 1>::kSumStride;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int c = channel + i / 2 * 8 + at.g;
    const float* const own = sums + (16 * block + i % 2 * 8 + 2 * at.t) * kStride + c;
    b[i] = scale_pair(b[i], __expf(sign * (own[0] - meet[c])),
                      __expf(sign * (own[kStride] - meet[c])));
  }
}

/// The same of a decay per channel, but for the block's own keys: earlier ones are met at the
/// block's first token.
template <int kSize>
__device__ __forceinline__ void read_past_channels(ShareSums<kSize>& dq, ShareSums<kSize>& y,
                                                   uint32_t base, uint32_t scores,
                                                   const float* sums, float scale,
                                                   const Share& at) {
  using G = GradientGeometry<kSize, true, 1>;
  const float* const meet = sums + 16 * at.block * G::kSumStride;
  const auto sum_at = [&](const float* row, int channel) {
    return *reinterpret_cast<const float2*>(row + channel);
  };
  for_each_pair<kSize>(at, [&](int tile, int i, int, int channel) {
    const float2 kept = kept_between(sum_at(meet, channel), make_float2(0, 0));
    scale_by(dq.x[tile] + i, make_float2(kept.x * scale, kept.y * scale));
    scale_by(y.x[tile] + i, kept);
  });
#pragma unroll 1
  for (int j = 0; j < at.block; ++j) {
    ScoreFactors factor;
    factor.get(scores, at.block, j);
#pragma unroll
    for (int pair = 0; pair < kSize / 16 / kParts; ++pair) {
      const int columns = at.part * (kSize / 16 / kParts) + pair;
      uint32_t b[4];
      right_by_columns<kSize>(b, base + G::kKeys, columns, j);
      fade<kSize>(b, sums, meet, j, 16 * columns, -1, at);
      multiply_pair(dq.x[2 * pair], dq.x[2 * pair + 1], factor.a[kHigh], b);
      multiply_pair(y.x[2 * pair], y.x[2 * pair + 1], factor.a[kLowerHigh], b);
      multiply_pair(dq.x[2 * pair], dq.x[2 * pair + 1], factor.a[kLow], b);
      multiply_pair(y.x[2 * pair], y.x[2 * pair + 1], factor.a[kLowerLow], b);
    }
  }
  for_each_pair<kSize>(at, [&](int tile, int i, int row, int channel) {
    const float2 kept =
        kept_between(sum_at(sums + row * G::kSumStride, channel), sum_at(meet, channel));
    scale_by(dq.x[tile] + i, kept);
    scale_by(y.x[tile] + i, kept);
  });
}

/// The same of a decay per channel, but for the block's own readers: later ones are met at the
/// block's last token.
template <int kSize>
__device__ __forceinline__ void read_future_channels(ShareSums<kSize>& dk, uint32_t base,
                                                     uint32_t scores, const float* sums,
                                                     const float* beta, const Share& at) {
  using G = GradientGeometry<kSize, true, 1>;
  const float* const meet = sums + (16 * at.block + 15) * G::kSumStride;
  const float* const last = sums + (kChunk - 1) * G::kSumStride;
  const auto sum_at = [&](const float* row, int channel) {
    return *reinterpret_cast<const float2*>(row + channel);
  };
  for_each_pair<kSize>(at, [&](int tile, int i, int, int channel) {
    scale_by(dk.x[tile] + i, kept_between(sum_at(last, channel), sum_at(meet, channel)));
  });
#pragma unroll 1
  for (int j = at.block + 1; j < 4; ++j) {
    ScoreFactors factor;
    factor.get_transposed(scores, at.block, j, beta, at.t);
#pragma unroll
    for (int pair = 0; pair < kSize / 16 / kParts; ++pair) {
      const int columns = at.part * (kSize / 16 / kParts) + pair;
      uint32_t b[4];
      right_by_columns<kSize>(b, base + G::kQueries, columns, j);
      fade<kSize>(b, sums, meet, j, 16 * columns, 1, at);
      multiply_pair(dk.x[2 * pair], dk.x[2 * pair + 1], factor.a[kHigh], b);
      multiply_pair(dk.x[2 * pair], dk.x[2 * pair + 1], factor.a[kLow], b);
      right_by_columns<kSize>(b, base + G::kKeys, columns, j);
      fade<kSize>(b, sums, meet, j, 16 * columns, 1, at);
      multiply_pair(dk.x[2 * pair], dk.x[2 * pair + 1], factor.a[kLowerHigh], b);
      multiply_pair(dk.x[2 * pair], dk.x[2 * pair + 1], factor.a[kLowerLow], b);
    }
  }
  for_each_pair<kSize>(at, [&](int tile, int i, int row, int channel) {
    scale_by(dk.x[tile] + i,
             kept_between(sum_at(meet, channel), sum_at(sums + row * G::kSumStride, channel)));
  });
}

/// Readers and keys of one block of 16, a channel a thread: the decay between two tokens is a
/// product of steps, so it costs no exponentials.
template <int kSize>
__device__ __forceinline__ void sum_within(char* shared, const float* beta) {
  using G = GradientGeometry<kSize, true, 1>;
  const float* const sums = reinterpret_cast<const float*>(shared + G::kSums);
  float* const to = reinterpret_cast<float*>(shared + G::kWithin);
  const float2* const scores = reinterpret_cast<const float2*>(shared + G::kBlocks);
#pragma unroll 1
  for (int item = threadIdx.x; item < 4 * kSize; item += kGradientThreads) {
    const int block = item / kSize, channel = item % kSize;
    float step[16], q[16], k[16], lost[16], dq[16], y[16];
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      const int row = 16 * block + i;
      const auto number = [&](int tile) {
        return __bfloat162float(*reinterpret_cast<const __nv_bfloat16*>(
            shared + tile + swizzled<2 * kSize>(row, channel / 8) + channel % 8 * 2));
      };
      q[i] = number(G::kQueries), k[i] = number(G::kKeys);
      lost[i] = -beta[row] * k[i];
      const float* const own = sums + row * G::kSumStride + channel;
      step[i] = i == 0 ? 1.0F : __expf(own[0] - own[-G::kSumStride]);
      dq[i] = y[i] = 0;
    }
#pragma unroll
    for (int j = 0; j < 16; ++j) {
      float kept = 1, dk = 0;
#pragma unroll
      for (int i = j; i < 16; ++i) {
        if (i > j) kept *= step[i];
        const float2 score = scores[(block * 16 + i) * 16 + j];
        const float key = kept * k[j];
        dq[i] += score.x * key, y[i] += score.y * key;
        dk += kept * (score.x * q[i] + score.y * lost[i]);
      }
      to[2 * kChunk * G::kSumStride + (16 * block + j) * G::kSumStride + channel] = dk;
    }
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      to[(16 * block + i) * G::kSumStride + channel] = dq[i];
      to[(kChunk + 16 * block + i) * G::kSumStride + channel] = y[i];
    }
  }
}

/// k (U dS^T) to the end of the chunk, of a warp's channels: the sum over its tokens.
template <int kSize>
__device__ __forceinline__ void store_tails(float* to, const ShareSums<kSize>& dk,
                                            const char* shared, const float* sums,
                                            const Share& at) {
  using G = GradientGeometry<kSize, true, 1>;
  const float* const last = sums + (kChunk - 1) * G::kSumStride;
#pragma unroll
  for (int tile = 0; tile < kSize / 8 / kParts; ++tile) {
    float2 total = {};
#pragma unroll
    for (int i = 0; i < 4; i += 2) {
      const int row = at.row(i), channel = channel_of<kSize>(at, tile);
      const float2 k = numbers_at<kSize>(shared + G::kKeys, row, channel);
      const float2 kept =
          kept_between(*reinterpret_cast<const float2*>(last + channel),
                       *reinterpret_cast<const float2*>(sums + row * G::kSumStride + channel));
      total.x += k.x * kept.x * dk.x[tile][i], total.y += k.y * kept.y * dk.x[tile][i + 1];
    }
#pragma unroll
    for (int offset = 4; offset < 32; offset *= 2) {
      total.x += __shfl_xor_sync(~0U, total.x, offset);
      total.y += __shfl_xor_sync(~0U, total.y, offset);
    }
    if (at.g == 0) {
      *reinterpret_cast<float2*>(to + at.block * kSize + channel_of<kSize>(at, tile)) = total;
    }
  }
}

/// Adds what sum_within left.
template <int kSize>
__device__ __forceinline__ void add_within(ShareSums<kSize>& dq, ShareSums<kSize>& y,
                                           ShareSums<kSize>& dk, const char* shared,
                                           const Share& at) {
  using G = GradientGeometry<kSize, true, 1>;
  const float* const within = reinterpret_cast<const float*>(shared + G::kWithin);
  for_each_pair<kSize>(at, [&](int tile, int i, int row, int channel) {
    const auto add = [&](float* x, int which) {
      const float2 more = *reinterpret_cast<const float2*>(
          within + (which * kChunk + row) * G::kSumStride + channel);
      x[0] += more.x, x[1] += more.y;
    };
    add(dq.x[tile] + i, 0), add(y.x[tile] + i, 1), add(dk.x[tile] + i, 2);
  });
}

/// The reverse sum over the chunk of dG, to ddecay: a channel a thread.
template <int kSize>
__device__ __forceinline__ void store_channel_decays(const DeltaRuleBackwardWork& work,
                                                     const HeadTokens& tokens, const float* dsums,
                                                     const float* parts, const float* sums) {
  using G = GradientGeometry<kSize, true, 1>;
  const int channel = static_cast<int>(threadIdx.x) - kGradientThreads / 2;
  if (channel >= 0 && channel < kSize) {
    float sum = 0;
    for (int i = 0; i < G::kShares; ++i) sum += parts[i * kSize + channel];
    sum *= __expf(sums[(kChunk - 1) * G::kSumStride + channel]);
    for (int i = G::kShares; i < G::kShares + 4; ++i) sum += parts[i * kSize + channel];
    float* const to = work.p.ddecay + tokens.first * kSize + channel;
    const int64_t stride = tokens.stride * kSize;
#pragma unroll 8
    for (int row = kChunk - 1; row >= 0; --row) {
      sum += dsums[row * G::kSumStride + channel];
      if (row < tokens.rows) to[row * stride] = -sum;
    }
  }
}

}  // namespace hypenet::kernels::cuda
