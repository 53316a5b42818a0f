// The part of the gradients of RWKV-7's recurrence that chunks' states are needed for: what tokens
// read of them, Y, what comes back to that, Z, and the gradients of the scores.
#pragma once

#include "kernels/cuda/delta_rule_solve.cuh"
#include "kernels/cuda/dplr_gradients.cuh"

namespace hypenet::kernels::cuda {

template <int kSize>
__device__ __forceinline__ void ask_all(const DplrBackwardWork& work, const HeadTokens& tokens,
                                        int64_t piece, uint32_t base) {
  using G = DplrGradientGeometry<kSize>;
  const DplrScratch& from = work.scratch;
  const auto tile = [&](int to, const char* array) {
    ask_tile<kSize, G::kThreads>(base + to, array + piece * G::kTile, 2 * kSize, kChunk);
  };
  const auto square = [&](int to, const char* array) {
    ask_tile<kChunk, G::kThreads>(base + to, array + piece * G::kSquare, 2 * kChunk, kChunk);
  };
  const auto matrix = [&](int to, const char* array) {
    ask_tile<kSize, G::kThreads, kSize>(base + to, array + piece * G::kMatrix, 2 * kSize, kSize);
  };
  const auto tensor = [&](int to, const void* array) {
    ask_tile<kSize, G::kThreads>(base + to,
                                 static_cast<const char*>(array) + tokens.first * kSize * 2,
                                 tokens.stride * kSize * 2, tokens.rows);
  };
  tensor(G::kRight, work.p.forward.v), tensor(G::kLeft, work.p.doutput);
  matrix(G::kStates, from.states), matrix(G::kDstates, from.dstates);
  tile(G::kReaders, from.readers), tile(G::kWriters, from.writers), tile(G::kKeys, from.keys);
  square(G::kSolver, from.solver), square(G::kOfValues, from.of_values);
  square(G::kOfReads, from.of_reads), square(G::kScores, from.scores);
  commit_copies();
}

/// A warp's 16 columns of what the chunk's tokens read and are read, transposed, [columns, tokens].
template <int kSize>
struct DplrColumns {
  using G = DplrGradientGeometry<kSize>;
  uint32_t base;
  int column;  // in units of 16
  float x[8][4] = {};

  __device__ __forceinline__ DplrColumns(uint32_t at, int item) : base(at), column(item) {}

  /// x += matrix^T tile^T, the matrix as it is stored.
  __device__ __forceinline__ void add_state(int matrix, int tile) {
#pragma unroll
    for (int d = 0; d < kSize / 16; ++d) {
      uint32_t a[4], b[4];
      left_of<kSize>(a, base + matrix, column, d);
#pragma unroll
      for (int block = 0; block < 4; ++block) {
        right_by_rows<kSize>(b, base + tile, block, d);
        multiply_pair(x[2 * block], x[2 * block + 1], a, b);
      }
    }
  }
  /// x += tokens^T square^T, of tokens up to each.
  __device__ __forceinline__ void add_past(int tokens, int square) {
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      uint32_t a[4], b[4];
      left_transposed<kSize>(a, base + tokens, column, k);
#pragma unroll
      for (int block = k; block < 4; ++block) {
        right_by_rows<kChunk>(b, base + square, block, k);
        multiply_pair(x[2 * block], x[2 * block + 1], a, b);
      }
    }
  }
  /// x += tokens^T square, of tokens from each on.
  __device__ __forceinline__ void add_future(int tokens, int square) {
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      uint32_t a[4], b[4];
      left_transposed<kSize>(a, base + tokens, column, k);
#pragma unroll
      for (int block = 0; block <= k; ++block) {
        right_by_columns<kChunk>(b, base + square, block, k);
        multiply_pair(x[2 * block], x[2 * block + 1], a, b);
      }
    }
  }
  /// x <- x (I - A_ab)^-1, from the last tokens to the first.
  __device__ __forceinline__ void solve() {
    uint32_t solved[4][4];
#pragma unroll
    for (int block = 3; block >= 0; --block) {
      uint32_t b[4];
#pragma unroll
      for (int k = block + 1; k < 4; ++k) {
        right_by_columns<kChunk>(b, base + G::kSolver, block, k);
        multiply_pair(x[2 * block], x[2 * block + 1], solved[k], b);
      }
      left_from(solved[block], x[2 * block], x[2 * block + 1]);
      right_by_columns<kChunk>(b, base + G::kSolver, block, block);
      multiply_pair(x[2 * block], x[2 * block + 1], solved[block], b);
      left_from(solved[block], x[2 * block], x[2 * block + 1]);
    }
  }
  /// Into a tile of tokens.
  __device__ __forceinline__ void store(char* tile) const {
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
    for (int block = 0; block < 4; ++block) {
      uint32_t a[4];
      left_from(a, x[2 * block], x[2 * block + 1]);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int row = 16 * block + g + i / 2 * 8;
        *reinterpret_cast<uint32_t*>(tile + swizzled<2 * kSize>(row, 2 * column + i % 2) + 4 * t) =
            transposed(a[i]);
      }
    }
  }
  /// To a tensor's rows.
  __device__ __forceinline__ void store(void* tensor, const HeadTokens& tokens) const {
    char* const to = static_cast<char*>(tensor) + (tokens.first * kSize + 16 * column) * 2;
    const int64_t stride = tokens.stride * kSize * 2;
#pragma unroll
    for (int block = 0; block < 4; ++block) {
      uint32_t a[4];
      left_from(a, x[2 * block], x[2 * block + 1]);
      store_by_token(to + 16 * block * stride, stride, a, tokens.rows - 16 * block);
    }
  }
};

/// Y, Z and dv: half of the warps make Z, the others the rest.
template <int kSize>
__device__ __forceinline__ void make_rows(const DplrBackwardWork& work, const HeadTokens& tokens,
                                          char* shared) {
  using G = DplrGradientGeometry<kSize>;
  const uint32_t base = shared_address(shared);
  const int warp = threadIdx.x / 32, column = warp % (kSize / 16);
  if (warp >= kSize / 16) {
    DplrColumns<kSize> z(base, column);
    z.add_state(G::kDstates, G::kWriters);
    z.add_future(G::kLeft, G::kOfReads);
    z.solve();
    z.store(shared + G::kLeft + G::kTile);
    return;
  }
  {
    DplrColumns<kSize> y(base, column);
    y.add_state(G::kStates, G::kReaders);
    y.add_past(G::kRight, G::kOfValues);
    y.store(shared + G::kRight + G::kTile);
  }
  DplrColumns<kSize> dv(base, column);
  dv.add_state(G::kDstates, G::kKeys);
  dv.add_future(G::kLeft, G::kScores);
  dv.store(work.p.dv, tokens);
}

/// The sum over v of S .* dS, in shares of the rows of S^T.
template <int kSize>
__device__ __forceinline__ void compare_states(char* shared) {
  using G = DplrGradientGeometry<kSize>;
  const int channel = static_cast<int>(threadIdx.x) % (kSize / 2) * 2;
  const int share = static_cast<int>(threadIdx.x) / (kSize / 2);
  float2 sum = {};
#pragma unroll 4
  for (int row = share; row < kSize; row += kTokenGroups) {
    const uint32_t place = pair_place<kSize>(row, channel);
    const float2 a = pair_of(*reinterpret_cast<const uint32_t*>(shared + G::kStates + place));
    const float2 b = pair_of(*reinterpret_cast<const uint32_t*>(shared + G::kDstates + place));
    sum.x += a.x * b.x, sum.y += a.y * b.y;
  }
  *reinterpret_cast<float2*>(shared + G::kStateParts + 4 * (share * kSize + channel)) = sum;
}

/// dO V^T, dO Y^T, Z V^T, Z Y^T up to the readers' tokens (dO) or before them (Z): a warp's share
/// of the kinds, rounded to sums of two numbers.
template <int kSize>
struct DplrScoreGradients {
  using G = DplrGradientGeometry<kSize>;
  static constexpr int kKinds = 4 / G::kParts;
  SplitFactor x[kKinds][4];

  __device__ __forceinline__ static int kind(const DplrOwn& at, int i) {
    return at.part * kKinds + i;
  }

  __device__ __forceinline__ void make(uint32_t base, const DplrOwn& at) {
#pragma unroll
    for (int keys = 0; keys < 4; ++keys) {
      if (keys > at.block) continue;
      float c[kKinds][2][4] = {};
      const int left = kind(at, 0) / 2;
#pragma unroll
      for (int d = 0; d < kSize / 16; ++d) {
        uint32_t a[4], b[4];
        left_of<kSize>(a, base + G::kLeft + left * G::kTile, at.block, d);
#pragma unroll
        for (int i = 0; i < kKinds; ++i) {
          right_by_rows<kSize>(b, base + G::kRight + kind(at, i) % 2 * G::kTile, keys, d);
          multiply_pair(c[i][0], c[i][1], a, b);
        }
      }
#pragma unroll
      for (int i = 0; i < kKinds; ++i) {
#pragma unroll
        for (int n = 0; n < 8; ++n) {
          const int row = at.g + n % 4 / 2 * 8, column = n / 4 * 8 + 2 * at.t + n % 2;
          if (keys == at.block && column > row - left) c[i][n / 4][n % 4] = 0;
        }
        x[i][keys].set(c[i][0], c[i][1]);
      }
    }
  }

  __device__ __forceinline__ void store(char* squares, const DplrOwn& at) const {
#pragma unroll
    for (int i = 0; i < kKinds; ++i) {
      char* const square = squares + 2 * kind(at, i) * G::kSquare;
#pragma unroll
      for (int keys = 0; keys < 4; ++keys) {
        if (keys > at.block) continue;
#pragma unroll
        for (int part = 0; part < 4; ++part) {
          char* const to =
              square + swizzled<2 * kChunk>(at.row(part % 2), 2 * keys + part / 2) + 4 * at.t;
          *reinterpret_cast<uint32_t*>(to) = x[i][keys].high[part];
          *reinterpret_cast<uint32_t*>(to + G::kSquare) = x[i][keys].low[part];
        }
      }
    }
  }
};

}  // namespace hypenet::kernels::cuda
