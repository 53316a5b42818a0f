// What Hopper's chains of the delta rule share: stages of shared memory in
// 128-byte swizzled panels, and products of left factors in registers with
// tiles and squares there.
#pragma once

#include "kernels/cuda/delta_rule.cuh"
#include "kernels/cuda/wgmma.cuh"

namespace hypenet::kernels::cuda {

constexpr int kRow = 128;              // bytes of a row of a panel: 64 numbers
constexpr int kPanel = kChunk * kRow;  // tiles are panels side by side

/// What a chain reads: kForward makes outputs, kLeaving states and rows for the
/// gradients, kBackward their gradients.
enum class Way { kForward, kLeaving, kBackward };

template <int kSize, bool kChannels, Way kWay, int kGroups>
struct HopperGeometry {
  static constexpr int kThreads = 128 * kGroups;
  static constexpr int kTile = kChunk * kSize * 2;
  static constexpr bool kReads = kWay != Way::kLeaving;  // queries and scores
  // A stage.
  static constexpr int kKeys = 0;
  static constexpr int kQueries = kKeys + kTile;
  static constexpr int kTails = kQueries + (kReads ? kTile : 0);
  static constexpr int kInverse = kTails + (kChannels ? kTile : 0);
  static constexpr int kScores = kInverse + kPanel;
  static constexpr int kValues = kScores + (kReads ? kPanel : 0);
  static constexpr int kFactorsAt = kValues + kGroups * kPanel;
  static constexpr int kFactorFloats = kFactors * kChunk + (kChannels ? kSize : 0);
  static constexpr int kStage = (kFactorsAt + 4 * kFactorFloats + 1023) / 1024 * 1024;
  static constexpr int bytes(int stages) { return stages * kStage + 1024; }
};

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

/// Asks for a tile of 64 rows as panels.
template <int kColumns, int kThreads>
__device__ __forceinline__ void ask_panels(uint32_t to, const void *from, int64_t stride,
                                           int rows) {
  const Pieces<kColumns, kThreads, kChunk> own;
  own.ask(to + own.piece / 8 * kPanel + swizzled<kRow>(own.row, own.piece % 8), kRow, from, stride,
          rows);
}

template <class G, int kSize, bool kChannels>
__device__ __forceinline__ void ask_chunk(const DeltaRuleParams &p, const DeltaScratch &scratch,
                                          uint32_t stage, int64_t head, int64_t chunk,
                                          const void *values, int first_column) {
  if (chunk >= 0 && chunk < scratch.chunks) {
    constexpr int kThreads = G::kThreads;
    const int64_t piece = head * scratch.chunks + chunk, from = piece * G::kTile;
    const HeadTokens at = tokens_of(p, head, chunk);
    const int64_t stride = at.stride * kSize * 2, first = at.first * kSize * 2;
    const auto ask_own = [&](int to, const char *pieces) {
      ask_panels<kSize, kThreads>(stage + to, pieces + from, 2 * kSize, kChunk);
    };
    const auto ask = [&](int to, const void *tensor) {
      ask_panels<kSize, kThreads>(stage + to, static_cast<const char *>(tensor) + first, stride,
                                  at.rows);
    };
    const auto ask_square = [&](int to, const char *pieces) {
      ask_panels<kChunk, kThreads>(stage + to, pieces + piece * kPanel, kRow, kChunk);
    };
    if constexpr (kChannels) {
      ask_own(G::kKeys, scratch.keys);
      ask_own(G::kTails, scratch.tails);
      if constexpr (G::kReads) ask_own(G::kQueries, scratch.queries);
      ask_floats<kSize, kThreads>(stage + G::kFactorsAt + 4 * kFactors * kChunk,
                                  scratch.across + piece * kSize);
    } else {
      ask(G::kKeys, p.k);
      if constexpr (G::kReads) ask(G::kQueries, p.q);
    }
    ask_panels<kThreads / 2, kThreads>(stage + G::kValues,
                                       static_cast<const char *>(values) + first + 2 * first_column,
                                       stride, at.rows);
    ask_square(G::kInverse, scratch.inverse);
    if constexpr (G::kReads) ask_square(G::kScores, scratch.scores);
    ask_floats<kFactors * kChunk, kThreads>(stage + G::kFactorsAt,
                                            scratch.factors + piece * (kFactors * kChunk));
  }
  commit_copies();
}

template <int kSize>
using State = float[kSize / 2];           // of a warpgroup's S^T, [64 columns, channels]
using Sums = float[kChunk / 2];           // [64 columns, tokens]
using Tokens = uint32_t[kChunk / 16][4];  // a left factor, [64 columns, tokens]

/// Tiles of a product as the left factor of the next one.
template <int kCount, int kNumbers>
__device__ __forceinline__ void round_to(uint32_t (&a)[kCount][4], const float (&x)[kNumbers]) {
  static_assert(kNumbers == 8 * kCount);
#pragma unroll
  for (int j = 0; j < kCount; ++j) {
#pragma unroll
    for (int i = 0; i < 4; ++i) a[j][i] = pack(x[8 * j + 2 * i], x[8 * j + 2 * i + 1]);
  }
}

/// What rounding to `high` left, rounded.
template <int kCount, int kNumbers>
__device__ __forceinline__ void round_rest(uint32_t (&low)[kCount][4], const float (&x)[kNumbers],
                                           const uint32_t (&high)[kCount][4]) {
#pragma unroll
  for (int j = 0; j < kCount; ++j) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float2 rounded = pair_of(high[j][i]);
      low[j][i] = pack(x[8 * j + 2 * i] - rounded.x, x[8 * j + 2 * i + 1] - rounded.y);
    }
  }
}

/// What a thread of a chain knows.
struct Lane {
  int lane, warp, group;  // warp: of the group
  __device__ __forceinline__ Lane()
      : lane(threadIdx.x % 32), warp(threadIdx.x / 32 % 4), group(threadIdx.x / 128) {}

  /// Columns of the state of elements 0, 1 of a tile; elements 2, 3 are 8
  /// further.
  __device__ __forceinline__ int column(int slab) const {
    return slab + 64 * group + 16 * warp + lane / 4;
  }
  /// Two factors of tile n's tokens.
  __device__ __forceinline__ float2 factor(const float *factors, int which, int n) const {
    return *reinterpret_cast<const float2 *>(factors + which * kChunk + 8 * n + lane % 4 * 2);
  }
  /// The values of the group's columns, transposed.
  __device__ __forceinline__ void get_values(uint32_t (&a)[4], uint32_t panels, int j) const {
    load_transposed(a,
                    panels + group * kPanel +
                        swizzled<kRow>(16 * j + lane % 8 + lane / 16 * 8, 2 * warp + lane / 8 % 2));
  }
};

/// Calls visit(element, row of the state (k), column (v)).
template <int kSize, class Visit>
__device__ __forceinline__ void for_each_element(State<kSize> &state, int first_column,
                                                 const Visit &visit) {
  const int t = threadIdx.x % 4;
#pragma unroll
  for (int i = 0; i < kSize / 2; ++i) {
    visit(state[i], i / 4 * 8 + 2 * t + i % 2, first_column + i / 2 % 2 * 8);
  }
}

/// S^T as it is to a chunk's piece [columns, channels].
template <int kSize>
__device__ __forceinline__ void store_state(char *piece, const uint32_t (&state)[kSize / 16][4],
                                            int column) {
  char *const row = piece + column * (2 * kSize);
#pragma unroll
  for (int i = 0; i < kSize / 16; ++i) {
    store_halves(row + 32 * i, state[i][0], state[i][2], true);
    store_halves(row + 8 * (2 * kSize) + 32 * i, state[i][1], state[i][3], true);
  }
}

/// A factor by token to rows of tokens.
__device__ __forceinline__ void store_tokens(char *to, int64_t stride, const Tokens &x, int rows) {
#pragma unroll
  for (int j = 0; j < kChunk / 16; ++j) {
    store_by_token(to + 16 * j * stride, stride, x[j], rows - 16 * j);
  }
}

template <int kSize, bool kChannels>
__device__ __forceinline__ void fade_state(State<kSize> &state, const float *factors) {
#pragma unroll
  for (int n = 0; n < kSize / 8; ++n) {
    float2 across;
    if constexpr (kChannels) {
      across = *reinterpret_cast<const float2 *>(factors + kFactors * kChunk + 8 * n +
                                                 threadIdx.x % 4 * 2);
    } else {
      across.x = across.y = factors[kGate * kChunk + kChunk - 1];
    }
    state[4 * n] *= across.x, state[4 * n + 1] *= across.y;
    state[4 * n + 2] *= across.x, state[4 * n + 3] *= across.y;
  }
}

/// Numbers of tile n times a pair of its tokens' factors.
__device__ __forceinline__ void scale_tile(Sums &x, int n, float2 factor) {
  x[4 * n] *= factor.x, x[4 * n + 1] *= factor.y;
  x[4 * n + 2] *= factor.x, x[4 * n + 3] *= factor.y;
}

/// Queues sums = state times the rows of a tile.
template <int kSize>
__device__ __forceinline__ void queue_by_rows(Sums &sums, const uint32_t (&state)[kSize / 16][4],
                                              uint32_t tile) {
#pragma unroll
  for (int d = 0; d < kSize / 16; ++d) {
    multiply_registers<false>(sums, state[d], matrix_descriptor(tile + d / 4 * kPanel + d % 4 * 32),
                              d > 0);
  }
}

/// Queues sums (+)= x times a square, transposed if its rows are x's tokens.
template <bool kTransposed>
__device__ __forceinline__ void queue_square(Sums &sums, const Tokens &x, uint32_t square,
                                             bool add) {
#pragma unroll
  for (int j = 0; j < kChunk / 16; ++j) {
    const uint32_t at = square + j * (kTransposed ? 16 * kRow : 32);
    multiply_registers<kTransposed>(sums, x[j], matrix_descriptor(at), add || j > 0);
  }
}

/// Queues state += x times a tile.
template <int kSize>
__device__ __forceinline__ void queue_update(State<kSize> &state, const Tokens &x, uint32_t tile) {
#pragma unroll
  for (int j = 0; j < kChunk / 16; ++j) {
    multiply_registers<true>(state, x[j], matrix_descriptor(tile + j * 16 * kRow, kPanel), true);
  }
}

/// Stages of shared memory, filled ahead in the order of the chain.
template <class G>
struct Stages {
  uint32_t base;
  char *shared;
  int count, now = 0;

  __device__ __forceinline__ Stages(char *unaligned, int stages)
      : base((shared_address(unaligned) + 1023) / 1024 * 1024),
        shared(unaligned + (base - shared_address(unaligned))),
        count(stages) {}
  __device__ __forceinline__ uint32_t at(int stage) const { return base + stage * G::kStage; }
  __device__ __forceinline__ const float *factors() const {
    return reinterpret_cast<const float *>(shared + now * G::kStage + G::kFactorsAt);
  }
  /// Waits for the stage `now`; afterwards the one before it is free for all
  /// warps.
  __device__ __forceinline__ void wait() const {
    if (count == 3) {
      wait_copies<1>();
    } else {
      wait_copies<0>();
    }
    publish_shared();
    __syncthreads();
  }
  __device__ __forceinline__ uint32_t free() const { return at(now == 0 ? count - 1 : now - 1); }
  __device__ __forceinline__ void advance() { now = now + 1 == count ? 0 : now + 1; }
};

#endif  // __CUDA_ARCH_FEAT_SM90_ALL

}  // namespace hypenet::kernels::cuda
