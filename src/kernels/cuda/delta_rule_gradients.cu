// The gradients of a chunk's tokens from what the chains left: S before it, dS after it, U and Z.
// A warp takes 16 tokens and a share of the channels; docs/kernels.md, "The delta rule", has the
// sums.
#include "kernels/cuda/delta_rule.cuh"

namespace hypenet::kernels::cuda {
namespace {

constexpr int kParts = 4;  // shares of the channels
constexpr int kThreads = 128 * kParts;

template <int kSize, bool kChannels>
struct Geometry {
  static constexpr int kTile = kChunk * kSize * 2;
  static constexpr int kSquare = kChunk * kChunk * 2;
  static constexpr int kMatrix = kSize * kSize * 2;
  static constexpr int kSumStride = kSize + 4;  // floats of a token's numbers per channel
  static constexpr int kFloats = kChunk * kSumStride * 4;
  static constexpr int kQueries = 0;
  static constexpr int kKeys = kTile;
  // do, Z, U, S^T and dS^T. Scores take the place of do and Z once these were read, and at the
  // end, per channel, sums inside blocks of 16 that of all.
  static constexpr int kDoutput = 2 * kTile;
  static constexpr int kDrows = kDoutput + kTile;
  static constexpr int kRows = kDrows + kTile;
  static constexpr int kStates = kRows + kTile;
  static constexpr int kDstates = kStates + kMatrix;
  static constexpr int kEnd = kDstates + kMatrix;
  static constexpr int kWithin = kDoutput;
  static constexpr int kWithinEnd = kWithin + (kChannels ? 3 * kFloats : 0);
  static constexpr int kTilesEnd = kEnd > kWithinEnd ? kEnd : kWithinEnd;
  static constexpr bool kFits = 4 * kSquare <= 2 * kTile;
  static constexpr int kScores = kFits ? kDoutput : kTilesEnd;         // of Scores
  static constexpr int kSums = kTilesEnd + (kFits ? 0 : 4 * kSquare);  // G per channel
  static constexpr int kBlocks = kSums + (kChannels ? kFloats : 0);  // dP, Z U^T of 4 blocks of 16
  static constexpr int kFactorsAt = kBlocks + (kChannels ? 4 * 16 * 16 * 8 : 0);
  static constexpr int kProductsAt = kFactorsAt + kFactors * kChunk * 4;  // Z v of a token
  static constexpr int kPartsAt = kProductsAt + kChunk * 4;
  static constexpr int kShares = 2 * kThreads / kSize;  // of the states' rows, when compared
  static constexpr int kRowSums =
      kPartsAt + 4 * (kChannels ? (kShares + 4) * kSize : kThreads / 32);
  static constexpr int kBytes = kRowSums + 4 * 4 * kParts * kChunk;  // four numbers of a token
};

/// Numbers of a warp's 16 tokens and its channels.
template <int kSize>
struct Sums {
  float x[kSize / 8 / kParts][4];
};

struct Place {
  int lane, g, t, block, part;  // block of 16 tokens, share of the channels
  __device__ __forceinline__ int row(int i) const { return 16 * block + g + i / 2 * 8; }
};

template <int kSize>
__device__ __forceinline__ int channel_of(const Place& at, int tile) {
  return at.part * (kSize / kParts) + 8 * tile + 2 * at.t;
}

/// Two channels of a token out of a swizzled tile.
template <int kSize>
__device__ __forceinline__ float2 numbers_at(const char* tile, int row, int channel) {
  return pair_of(*reinterpret_cast<const uint32_t*>(tile + swizzled<2 * kSize>(row, channel / 8) +
                                                    channel % 8 * 2));
}

/// sums += a [16, kSize] b, with b stored as rows of kSize columns.
template <int kSize>
__device__ __forceinline__ void add_product(Sums<kSize>& sums, const uint32_t (&a)[4],
                                            uint32_t tile, const Place& at, int k) {
#pragma unroll
  for (int pair = 0; pair < kSize / 16 / kParts; ++pair) {
    uint32_t b[4];
    right_by_columns<kSize>(b, tile, at.part * (kSize / 16 / kParts) + pair, k);
    multiply_pair(sums.x[2 * pair], sums.x[2 * pair + 1], a, b);
  }
}

/// dv = beta Z, and Z v of each token.
template <int kSize>
__device__ __forceinline__ void write_values(const DeltaRuleBackwardWork& work,
                                             const HeadTokens& tokens, const char* drows,
                                             const float* beta, float* products) {
  constexpr int kPieces = kSize / 8;
#pragma unroll 2
  for (int i = threadIdx.x; i < kChunk * kPieces; i += kThreads) {
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

/// dP = scale do U^T (j <= i) and Z U^T (j < i) of a warp's 16 tokens and its share of the keys,
/// decayed where the decay is a token's. They are rounded to a sum of two bfloat16 numbers: what a
/// token gets as reader and gives as key must cancel in the decay's gradient.
constexpr int kKeys = kChunk / 8 / kParts;  // in eights
struct Scores {
  float dscores[kKeys][4], dlower[kKeys][4];
};
enum Square { kHigh, kLow, kLowerHigh, kLowerLow };

template <int kSize, bool kChannels>
__device__ __forceinline__ void make_scores(Scores& scores, const DeltaRuleBackwardWork& work,
                                            char* shared, const float* factors, const Place& at) {
  using G = Geometry<kSize, kChannels>;
  const uint32_t base = shared_address(shared);
#pragma unroll
  for (int tile = 0; tile < kKeys; ++tile) {
#pragma unroll
    for (int i = 0; i < 4; ++i) scores.dscores[tile][i] = scores.dlower[tile][i] = 0;
  }
#pragma unroll
  for (int d = 0; d < kSize / 16; ++d) {
    uint32_t a[4], z[4], b[4];
    left_of<kSize>(a, base + G::kDoutput, at.block, d);
    left_of<kSize>(z, base + G::kDrows, at.block, d);
#pragma unroll
    for (int pair = 0; pair < kKeys / 2; ++pair) {
      if (at.part * (kKeys / 2) + pair > at.block) continue;
      right_by_rows<kSize>(b, base + G::kRows, at.part * (kKeys / 2) + pair, d);
      multiply_pair(scores.dscores[2 * pair], scores.dscores[2 * pair + 1], a, b);
      multiply_pair(scores.dlower[2 * pair], scores.dlower[2 * pair + 1], z, b);
    }
  }
#pragma unroll
  for (int tile = 0; tile < kKeys; ++tile) {
    const int keys = kKeys * at.part + tile;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int row = at.row(i), column = 8 * keys + 2 * at.t + i % 2;
      float kept = column <= row ? 1.0F : 0.0F;
      if (!kChannels && column <= row) {
        kept = __expf(factors[kSum * kChunk + row] - factors[kSum * kChunk + column]);
      }
      scores.dscores[tile][i] *= kept * work.p.forward.scale;
      scores.dlower[tile][i] *= column < row ? kept : 0.0F;
      if (kChannels && keys / 2 == at.block) {
        const int place = (at.block * 16 + row % 16) * 16 + column % 16;
        reinterpret_cast<float2*>(shared + G::kBlocks)[place] =
            make_float2(scores.dscores[tile][i], scores.dlower[tile][i]);
      }
    }
  }
}

__device__ __forceinline__ void store_scores(char* squares, const Scores& scores, const Place& at) {
  constexpr int kSquare = kChunk * kChunk * 2;
#pragma unroll
  for (int tile = 0; tile < kKeys; ++tile) {
    const int keys = kKeys * at.part + tile;
    if (keys / 2 > at.block) continue;
#pragma unroll
    for (int i = 0; i < 4; i += 2) {
      char* const to = squares + swizzled<2 * kChunk>(at.row(i), keys) + 4 * at.t;
      const auto put = [&](int square, const float* x) {
        uint32_t high, low;
        split_pair(high, low, x[0], x[1]);
        *reinterpret_cast<uint32_t*>(to + square * kSquare) = high;
        *reinterpret_cast<uint32_t*>(to + (square + 1) * kSquare) = low;
      };
      put(kHigh, scores.dscores[tile] + i);
      put(kLowerHigh, scores.dlower[tile] + i);
    }
  }
}

/// Left factors out of the four squares: dP and Z U^T of a block's readers with block j's keys, or
/// transposed, of a block's keys with block j's readers and -beta of these.
struct ScoreFactors {
  uint32_t a[4][4];

  __device__ __forceinline__ void get(uint32_t squares, int block, int j) {
#pragma unroll
    for (int square = 0; square < 4; ++square) {
      left_of<kChunk>(a[square], squares + square * (2 * kChunk * kChunk), block, j);
    }
  }
  __device__ __forceinline__ void get_transposed(uint32_t squares, int block, int j,
                                                 const float* beta, int t) {
#pragma unroll
    for (int square = 0; square < 4; ++square) {
      left_transposed<kChunk>(a[square], squares + square * (2 * kChunk * kChunk), block, j);
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int reader = 16 * j + i / 2 * 8 + 2 * t;
      const float2 high = pair_of(a[kLowerHigh][i]), low = pair_of(a[kLowerLow][i]);
      split_pair(a[kLowerHigh][i], a[kLowerLow][i], -beta[reader] * (high.x + low.x),
                 -beta[reader + 1] * (high.y + low.y));
    }
  }
};

/// Calls visit(tile, first element of the pair, row, channel) for the pairs of a thread's sums.
template <int kSize, class Visit>
__device__ __forceinline__ void for_each_pair(const Place& at, const Visit& visit) {
#pragma unroll
  for (int tile = 0; tile < kSize / 8 / kParts; ++tile) {
#pragma unroll
    for (int i = 0; i < 4; i += 2) visit(tile, i, at.row(i), channel_of<kSize>(at, tile));
  }
}

__device__ __forceinline__ void scale_by(float* x, float2 factor) {
  x[0] *= factor.x, x[1] *= factor.y;
}

__device__ __forceinline__ float2 kept_between(float2 later, float2 earlier) {
  return make_float2(__expf(later.x - earlier.x), __expf(later.y - earlier.y));
}

/// dq and Y = (Z S^T + sum_j Z U^T k_j), decayed, of a decay per token.
template <int kSize>
__device__ __forceinline__ void read_past(Sums<kSize>& dq, Sums<kSize>& y, uint32_t base,
                                          const float* factors, float scale, const Place& at) {
  using G = Geometry<kSize, false>;
  for_each_pair<kSize>(at, [&](int tile, int i, int row, int) {
    const float gate = factors[kGate * kChunk + row];
    scale_by(dq.x[tile] + i, make_float2(gate * scale, gate * scale));
    scale_by(y.x[tile] + i, make_float2(gate, gate));
  });
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    if (j > at.block) continue;
    ScoreFactors factor;
    factor.get(base + G::kScores, at.block, j);
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

/// A right factor (rows of tokens, columns of channels) times exp(sign (G - G of `meet`)).
template <int kSize>
__device__ __forceinline__ void fade(uint32_t (&b)[4], const float* sums, const float* meet,
                                     int block, int channel, float sign, const Place& at) {
  constexpr int kStride = Geometry<kSize, true>::kSumStride;
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
__device__ __forceinline__ void read_past_channels(Sums<kSize>& dq, Sums<kSize>& y, uint32_t base,
                                                   const float* sums, float scale,
                                                   const Place& at) {
  using G = Geometry<kSize, true>;
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
    factor.get(base + G::kScores, at.block, j);
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

/// dk as a key, of a decay per token: U dS^T, decayed, plus what later readers took.
template <int kSize>
__device__ __forceinline__ void read_future(Sums<kSize>& dk, uint32_t base, const float* factors,
                                            const Place& at) {
  using G = Geometry<kSize, false>;
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    if (j < at.block) continue;
    ScoreFactors factor;
    factor.get_transposed(base + G::kScores, at.block, j, factors + kBeta * kChunk, at.t);
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

/// The same of a decay per channel, but for the block's own readers: later ones are met at the
/// block's last token.
template <int kSize>
__device__ __forceinline__ void read_future_channels(Sums<kSize>& dk, uint32_t base,
                                                     const float* sums, const float* beta,
                                                     const Place& at) {
  using G = Geometry<kSize, true>;
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
    factor.get_transposed(base + G::kScores, at.block, j, beta, at.t);
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
  using G = Geometry<kSize, true>;
  const float* const sums = reinterpret_cast<const float*>(shared + G::kSums);
  float* const to = reinterpret_cast<float*>(shared + G::kWithin);
  const float2* const scores = reinterpret_cast<const float2*>(shared + G::kBlocks);
#pragma unroll 1
  for (int item = threadIdx.x; item < 4 * kSize; item += kThreads) {
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

/// The sum over columns v of S .* dS: of all channels, a part a warp, or of each, in kShares parts.
template <int kSize, bool kChannels>
__device__ __forceinline__ void compare_states(const char* shared, float* parts) {
  using G = Geometry<kSize, kChannels>;
  if constexpr (kChannels) {
    constexpr int kPairs = kSize / 2,
                  kShare = Geometry<kSize, true>::kShares;  // shares of the rows
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
    for (int i = threadIdx.x; i < G::kMatrix / 16; i += kThreads) {
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

/// Rows of a warp's sums to a tensor's tokens, rounded.
template <int kSize>
__device__ __forceinline__ void store_rows(void* tensor, const Sums<kSize>& sums,
                                           const HeadTokens& tokens, const Place& at) {
#pragma unroll
  for (int i = 0; i < 4; i += 2) {
    const int row = at.row(i);
    const bool valid = row < tokens.rows;
    char* const to =
        static_cast<char*>(tensor) +
        ((tokens.first + (valid ? row : 0) * tokens.stride) * kSize + at.part * (kSize / kParts)) *
            2;
#pragma unroll
    for (int pair = 0; pair < kSize / 16 / kParts; ++pair) {
      const auto &low = sums.x[2 * pair], &high = sums.x[2 * pair + 1];
      store_halves(to + 32 * pair, pack(low[i], low[i + 1]), pack(high[i], high[i + 1]), valid);
    }
  }
}

/// A number of each of a warp's 16 rows, summed over its channels, to `sums` [kParts, 64].
__device__ __forceinline__ void store_row_sums(float* sums, float (&x)[2], const Place& at) {
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    x[i] += __shfl_xor_sync(~0U, x[i], 1);
    x[i] += __shfl_xor_sync(~0U, x[i], 2);
    if (at.t == 0) sums[at.part * kChunk + at.row(2 * i)] = x[i];
  }
}

__device__ __forceinline__ float sum_of_parts(const float* row_sums) {
  float sum = 0;
#pragma unroll
  for (int part = 0; part < kParts; ++part) sum += row_sums[part * kChunk];
  return sum;
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
  for (int i = 0; i < kThreads / 32; ++i) states += parts[i];
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

template <int kSize, bool kChannels>
__global__ void __launch_bounds__(kThreads, 1)
    gradients_kernel(const __grid_constant__ DeltaRuleBackwardWork work) {
  using G = Geometry<kSize, kChannels>;
  extern __shared__ __align__(128) char shared[];
  const DeltaRuleParams& p = work.p.forward;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const Place at{lane, lane / 4, lane % 4, warp % 4, warp / 4};
  const int64_t head = blockIdx.x, piece = head * work.scratch.chunks + blockIdx.y;
  const HeadTokens tokens = tokens_of(p, head, blockIdx.y);
  const uint32_t base = shared_address(shared);
  float* const factors = reinterpret_cast<float*>(shared + G::kFactorsAt);
  float* const sums = reinterpret_cast<float*>(shared + G::kSums);
  float* const row_sums = reinterpret_cast<float*>(shared + G::kRowSums);
  float* const products = reinterpret_cast<float*>(shared + G::kProductsAt);
  float* const parts = reinterpret_cast<float*>(shared + G::kPartsAt);
  const float* const beta = factors + kBeta * kChunk;
  {
    const int64_t stride = tokens.stride * kSize * 2, first = tokens.first * kSize * 2;
    const auto ask = [&](int to, const void* tensor) {
      ask_tile<kSize, kThreads>(base + to, static_cast<const char*>(tensor) + first, stride,
                                tokens.rows);
    };
    const auto ask_piece = [&](int to, const char* pieces) {
      ask_tile<kSize, kThreads>(base + to, pieces + piece * G::kTile, 2 * kSize, kChunk);
    };
    const auto ask_matrix = [&](int to, const char* pieces) {
      ask_tile<kSize, kThreads, kSize>(base + to, pieces + piece * G::kMatrix, 2 * kSize, kSize);
    };
    ask_floats<kFactors * kChunk, kThreads>(base + G::kFactorsAt,
                                            work.scratch.factors + piece * (kFactors * kChunk));
    if constexpr (kChannels) {
      ask_sums<kSize, kThreads, G::kSumStride>(sums, p, tokens);
    }
    ask_piece(G::kDrows, work.scratch.drows);
    ask_piece(G::kRows, work.scratch.rows);
    ask(G::kDoutput, work.p.doutput);
    commit_copies();
    ask_matrix(G::kStates, work.scratch.states);
    ask(G::kKeys, p.k);
    commit_copies();
    ask_matrix(G::kDstates, work.scratch.dstates);
    ask(G::kQueries, p.q);
    commit_copies();
  }
  wait_copies<2>();
  __syncthreads();
  if constexpr (kChannels) {
    for (int channel = threadIdx.x; channel < kSize; channel += kThreads) {
      float sum = 0;
#pragma unroll 16
      for (int row = 0; row < kChunk; ++row) {
        float* const place = sums + row * G::kSumStride + channel;
        sum -= *place;
        *place = sum;
      }
    }
  }
  Scores scores;
  make_scores<kSize, kChannels>(scores, work, shared, factors, at);
  write_values<kSize>(work, tokens, shared + G::kDrows, beta, products);
  wait_copies<1>();
  __syncthreads();

  Sums<kSize> dq = {}, y = {}, dk = {};
#pragma unroll
  for (int d = 0; d < kSize / 16; ++d) {
    uint32_t a[4], z[4], b[4];
    left_of<kSize>(a, base + G::kDoutput, at.block, d);
    left_of<kSize>(z, base + G::kDrows, at.block, d);
#pragma unroll
    for (int pair = 0; pair < kSize / 16 / kParts; ++pair) {
      right_by_columns<kSize>(b, base + G::kStates, at.part * (kSize / 16 / kParts) + pair, d);
      multiply_pair(dq.x[2 * pair], dq.x[2 * pair + 1], a, b);
      multiply_pair(y.x[2 * pair], y.x[2 * pair + 1], z, b);
    }
  }
  __syncthreads();  // scores take the place of do and Z
  store_scores(shared + G::kScores, scores, at);
  __syncthreads();
  if constexpr (kChannels) {
    read_past_channels<kSize>(dq, y, base, sums, p.scale, at);
  } else {
    read_past<kSize>(dq, y, base, factors, p.scale, at);
  }
  wait_copies<0>();
  __syncthreads();
  compare_states<kSize, kChannels>(shared, parts);
#pragma unroll
  for (int d = 0; d < kSize / 16; ++d) {
    uint32_t a[4];
    left_of<kSize>(a, base + G::kRows, at.block, d);
    add_product<kSize>(dk, a, base + G::kDstates, at, d);
  }
  // k (U dS^T) to the end of the chunk: of a token's channels, or of a channel's tokens.
  float tails[2] = {};
  if constexpr (kChannels) {
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
        *reinterpret_cast<float2*>(parts + (G::kShares + at.block) * kSize +
                                   channel_of<kSize>(at, tile)) = total;
      }
    }
    read_future_channels<kSize>(dk, base, sums, beta, at);
    __syncthreads();  // sums within blocks take the tiles' place
    sum_within<kSize>(shared, beta);
    __syncthreads();
    const float* const within = reinterpret_cast<const float*>(shared + G::kWithin);
    for_each_pair<kSize>(at, [&](int tile, int i, int row, int channel) {
      const auto add = [&](float* x, int which) {
        const float2 more = *reinterpret_cast<const float2*>(
            within + (which * kChunk + row) * G::kSumStride + channel);
        x[0] += more.x, x[1] += more.y;
      };
      add(dq.x[tile] + i, 0), add(y.x[tile] + i, 1), add(dk.x[tile] + i, 2);
    });
  } else {
    for_each_pair<kSize>(at, [&](int tile, int i, int row, int channel) {
      const float2 k = numbers_at<kSize>(shared + G::kKeys, row, channel);
      const float tail = factors[kTail * kChunk + row];
      scale_by(dk.x[tile] + i, make_float2(tail, tail));
      tails[i / 2] += k.x * dk.x[tile][i] + k.y * dk.x[tile][i + 1];
    });
    read_future<kSize>(dk, base, factors, at);
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
    const int channel = static_cast<int>(threadIdx.x) - kThreads / 2;
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
}

template <int kSize, bool kChannels>
Status launch(const DeltaRuleBackwardWork& work, Stream stream) {
  constexpr int kBytes = Geometry<kSize, kChannels>::kBytes;
  const auto kernel = gradients_kernel<kSize, kChannels>;
  const cudaError_t error =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes);
  if (error != cudaSuccess) return status_of(error);
  const DeltaRuleParams& p = work.p.forward;
  const dim3 blocks(static_cast<unsigned>(p.batch * p.heads),
                    static_cast<unsigned>(work.scratch.chunks));
  kernel<<<blocks, kThreads, kBytes, cuda_stream(stream)>>>(work);
  return launch_status();
}

}  // namespace

int64_t delta_rule_gradients_bytes(int64_t size, bool is_per_channel) {
  if (is_per_channel) return size == 64 ? Geometry<64, true>::kBytes : Geometry<128, true>::kBytes;
  return size == 64 ? Geometry<64, false>::kBytes : Geometry<128, false>::kBytes;
}

Status delta_rule_gradients(const DeltaRuleBackwardWork& work, Stream stream) {
  const DeltaRuleParams& p = work.p.forward;
  if (p.is_per_channel) {
    return p.size == 64 ? launch<64, true>(work, stream) : launch<128, true>(work, stream);
  }
  return p.size == 64 ? launch<64, false>(work, stream) : launch<128, false>(work, stream);
}

}  // namespace hypenet::kernels::cuda
