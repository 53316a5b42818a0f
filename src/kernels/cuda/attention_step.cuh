// What one warp does in attention_step.cu: it asks for tiles of keys and values and takes them into
// a softmax, with no other warp's help.
#pragma once

#include "kernels/attention_step.h"
#include "kernels/cuda/mma.cuh"

namespace hypenet::kernels::cuda::attention {

constexpr int kWarps = 4;   // of a block
constexpr int kHeads = 16;  // query heads of a key head at most: the rows of a product

/// A tile: 4 KB of keys, then as much of values, rows swizzled.
template <int d>
struct Layout {
  static constexpr int kRowBytes = 2 * d;  // of a key, a value or a query
  static constexpr int kKeys = 2048 / d;
  static constexpr int kTileBytes = kKeys * kRowBytes, kStageBytes = 2 * kTileBytes;
};

__device__ __forceinline__ float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

/// The larger one of the four lanes that share a row of a product.
__device__ __forceinline__ float quad_max(float x) {
  x = fmaxf(x, __shfl_xor_sync(~0U, x, 1));
  return fmaxf(x, __shfl_xor_sync(~0U, x, 2));
}

/// The tiles of one warp: every kWarps-th of its split.
template <int d>
struct Tiles {
  using L = Layout<d>;

  __device__ Tiles(const AttentionStepParams& p, const int32_t* table_of_row, int from, int to)
      : table(table_of_row),
        page_tokens(static_cast<unsigned>(p.pages.page_tokens)),
        token_bytes(p.pages.heads * L::kRowBytes),
        begin(from + static_cast<int>(threadIdx.x) / 32 * L::kKeys),
        end(to) {
    const int64_t offset = blockIdx.x * L::kRowBytes + row() * token_bytes + piece() * 16;
    keys = static_cast<const unsigned char*>(p.pages.keys) + offset;
    values = static_cast<const unsigned char*>(p.pages.values) + offset;
  }

  __device__ int count() const {
    return begin < end ? (end - begin + kWarps * L::kKeys - 1) / (kWarps * L::kKeys) : 0;
  }
  __device__ int first_token(int tile) const { return begin + tile * kWarps * L::kKeys; }
  __device__ int tokens(int tile) const { return min(L::kKeys, end - first_token(tile)); }

  /// Any page for a tile that does not exist.
  __device__ int page(int tile) const {
    const unsigned token = first_token(tile);
    return tile < count() ? table[token / page_tokens] : 0;
  }

  /// Asks for a tile, which lies in one page; zeros after the last token.
  __device__ void copy(int tile, int page, uint32_t stage) const {
    const unsigned token = first_token(tile);
    const int valid = tokens(tile);
    int64_t from = (page * int64_t{page_tokens} + token % page_tokens) * token_bytes;
#pragma unroll
    for (int j = 0; j < L::kKeys; j += kRowsAtOnce) {
      const uint32_t to = stage + swizzled<L::kRowBytes>(row() + j, piece());
      copy_async(to, keys + from, row() + j < valid);
      copy_async(to + L::kTileBytes, values + from, row() + j < valid);
      from += kRowsAtOnce * token_bytes;
    }
  }

  static constexpr int kRowsAtOnce = 32 * 16 / L::kRowBytes;
  __device__ static int row() { return threadIdx.x % 32 / (L::kRowBytes / 16); }
  __device__ static int piece() { return threadIdx.x % (L::kRowBytes / 16); }

  const unsigned char *keys, *values;  // of the key head, at this lane's piece
  const int32_t* table;                // of the row's sequence
  unsigned page_tokens;
  int64_t token_bytes;
  int begin, end;  // tokens
};

/// Softmax over the keys so far, of one warp. A lane has rows lane / 4 and lane / 4 + 8 (query
/// heads), of o columns 8 j + 2 (lane % 4) and the next.
template <int d>
struct Softmax {
  using L = Layout<d>;

  /// q k^T of a tile; keys from `valid` on get no weight.
  __device__ void score(const uint32_t (&q)[d / 16][4], uint32_t keys, int valid,
                        float (&s)[L::kKeys / 8][4]) const {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int pair = 0; pair < L::kKeys / 16; ++pair) {
      const uint32_t place =
          swizzled<L::kRowBytes>(pair * 16 + lane % 8 + lane / 16 * 8, lane / 8 % 2);
#pragma unroll
      for (int step = 0; step < d / 16; ++step) {
        uint32_t k[4];
        load_matrices(k, keys + (place ^ (step * 32)));  // two pieces on, swizzled
        multiply_add(s[2 * pair], q[step], k[0], k[1]);
        multiply_add(s[2 * pair + 1], q[step], k[2], k[3]);
      }
    }
    if (valid == L::kKeys) return;
#pragma unroll
    for (int j = 0; j < L::kKeys / 8; ++j) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        if (8 * j + lane % 4 * 2 + i % 2 >= valid) s[j][i] = -INFINITY;
      }
    }
  }

  /// Scores become weights under the new largest one; what is there so far is scaled down to it.
  __device__ void weigh(float scale, float (&s)[L::kKeys / 8][4]) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float top = -INFINITY;
#pragma unroll
      for (int j = 0; j < L::kKeys / 8; ++j) {
        top = fmaxf(top, fmaxf(s[j][2 * half], s[j][2 * half + 1]));
      }
      const float now = fmaxf(largest[half], quad_max(top) * scale);
      const float factor = exp2_fast(largest[half] - now);
      largest[half] = now;
      sum[half] *= factor;
#pragma unroll
      for (int j = 0; j < L::kKeys / 8; ++j) {
#pragma unroll
        for (int i = 2 * half; i < 2 * half + 2; ++i) {
          s[j][i] = exp2_fast(s[j][i] * scale - now);
          sum[half] += s[j][i];
        }
      }
#pragma unroll
      for (int j = 0; j < d / 8; ++j) o[j][2 * half] *= factor, o[j][2 * half + 1] *= factor;
    }
  }

  /// o += weights v, the weights rounded to bfloat16.
  __device__ void gather(const float (&s)[L::kKeys / 8][4], uint32_t values) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int pair = 0; pair < L::kKeys / 16; ++pair) {
      const uint32_t weights[4] = {pack(s[2 * pair][0], s[2 * pair][1]),
                                   pack(s[2 * pair][2], s[2 * pair][3]),
                                   pack(s[2 * pair + 1][0], s[2 * pair + 1][1]),
                                   pack(s[2 * pair + 1][2], s[2 * pair + 1][3])};
      const uint32_t place = swizzled<L::kRowBytes>(pair * 16 + lane % 16, lane / 16);
#pragma unroll
      for (int step = 0; step < d / 16; ++step) {
        uint32_t v[4];
        load_transposed(v, values + (place ^ (step * 32)));
        multiply_add(o[2 * step], weights, v[0], v[1]);
        multiply_add(o[2 * step + 1], weights, v[2], v[3]);
      }
    }
  }

  float largest[2] = {-INFINITY, -INFINITY};  // in units of log 2
  float sum[2] = {};                          // of this lane's weights
  float o[d / 8][4] = {};
};

}  // namespace hypenet::kernels::cuda::attention
