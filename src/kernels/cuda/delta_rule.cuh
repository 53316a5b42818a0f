// What the kernels of the delta rule share: where a chunk's parts lie between them, tiles of 64
// tokens in shared memory, and the registers of a product turned from columns into rows.
#pragma once

#include "kernels/cuda/delta_rule.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/mma.cuh"
#include "kernels/cuda/scratch.cuh"

namespace hypenet::kernels::cuda {

constexpr int kChunk = 64;
/// Float32 numbers of a token that the chunks' kernels read: G, exp(G), exp(G_C - G), beta. With a
/// decay per channel only beta counts.
enum Factor { kSum, kGate, kTail, kBeta, kFactors };

/// Scratch memory, one piece of each array a chunk, chunks of a head side by side.
struct DeltaScratch {
  char* inverse;   // (I + L)^-1, bfloat16 [64, 64]
  char* scores;    // scale P, bfloat16 [64, 64]
  float* factors;  // [4, 64]
  // With a decay per channel, bfloat16 [64, d]: scale q e^G, k e^G, k e^(G_C - G); and e^(G_C) [d].
  char *queries, *keys, *tails;
  float* across;
  // For the gradients: S^T before the chunk, dS^T after it, bfloat16 [d, d]; U, Z [64, d].
  char *states, *dstates, *rows, *drows;
  int64_t chunks;  // of a head
  int64_t bytes;   // in all
};

/// What each kernel takes.
struct DeltaRuleWork {
  DeltaRuleParams p;
  DeltaScratch scratch;
};
struct DeltaRuleBackwardWork {
  DeltaRuleBackwardParams p;
  DeltaScratch scratch;
};

Status prepare_delta_rule(const DeltaRuleWork& work, Stream stream);
Status prepare_channels(const DeltaRuleWork& work, Stream stream);  // a decay per channel
/// The forward's chain or, for the gradients, the same without output, which leaves states and
/// rows.
Status chain_delta_rule(const DeltaRuleWork& work, bool leaves_states, Stream stream);
Status chain_delta_rule_backward(const DeltaRuleBackwardWork& work, Stream stream);
/// The same on Hopper, which these hand over to where it pays.
Status chain_delta_rule_hopper(const DeltaRuleWork& work, bool leaves_states, Stream stream);
Status chain_delta_rule_backward_hopper(const DeltaRuleBackwardWork& work, Stream stream);
bool takes_hopper_chains(const DeltaRuleParams& p);
Status delta_rule_gradients(const DeltaRuleBackwardWork& work, Stream stream);

/// Columns of the state that a block of the chains takes (16, 32, 64 or 128), so that blocks fill
/// the device.
int slab_columns(const DeltaRuleParams& p);

/// Bytes of shared memory that a block of each kernel takes at least.
int64_t prepare_delta_rule_bytes(int64_t size, bool is_per_channel);
int64_t prepare_channels_bytes(int64_t size);
int64_t chain_delta_rule_bytes(int64_t size, bool is_per_channel);  // either direction
int64_t delta_rule_gradients_bytes(int64_t size, bool is_per_channel);

/// Of [B, T, H, d] tensors, a head's tokens first, first + 1, ..
struct HeadTokens {
  int64_t first;   // index of the head's number of its first token, in tokens times heads
  int64_t stride;  // in tokens times heads
  int rows;        // tokens of the chunk that are there
};

/// `p` has the sizes of a recurrence's tensors.
template <class Params>
__device__ __forceinline__ HeadTokens tokens_of(const Params& p, int64_t head, int64_t chunk) {
  const int64_t b = head / p.heads, h = head % p.heads, token = chunk * kChunk;
  const int64_t left = p.tokens - token;
  return {(b * p.tokens + token) * p.heads + h, p.heads,
          static_cast<int>(left < kChunk ? left : kChunk)};
}

/// A thread's pieces of a tile of kRows rows and kColumns bfloat16: the same of every kStep-th row,
/// so that addresses are counted up. `stride` in bytes; rows that are not there are zeros.
template <int kColumns, int kThreads, int kRows>
struct Pieces {
  static constexpr int kOfRow = kColumns / 8, kStep = kThreads / kOfRow;
  static_assert(kStep % 8 == 0);  // swizzles repeat
  int row = threadIdx.x / kOfRow, piece = threadIdx.x % kOfRow;

  __device__ __forceinline__ void ask(uint32_t to, int row_bytes, const void* from, int64_t stride,
                                      int rows) const {
    const char* at = static_cast<const char*>(from) + row * stride + 16 * piece;
#pragma unroll
    for (int i = 0; i < kRows; i += kStep) {
      if (kRows % kStep != 0 && row + i >= kRows) break;
      const bool valid = row + i < rows;
      copy_async(to + i * row_bytes, valid ? at : from, valid);
      at += kStep * stride;
    }
  }
};

/// Asks for a tile, swizzled.
template <int kColumns, int kThreads, int kRows = kChunk>
__device__ __forceinline__ void ask_tile(uint32_t to, const void* from, int64_t stride, int rows) {
  const Pieces<kColumns, kThreads, kRows> own;
  own.ask(to + swizzled<2 * kColumns>(own.row, own.piece), 2 * kColumns, from, stride, rows);
}

/// The same, each row followed by 16 bytes of padding instead of swizzled: for few columns.
template <int kColumns, int kThreads>
__device__ __forceinline__ void ask_padded(uint32_t to, const void* from, int64_t stride,
                                           int rows) {
  constexpr int kRow = 2 * kColumns + 16;
  const Pieces<kColumns, kThreads, kChunk> own;
  own.ask(to + own.row * kRow + 16 * own.piece, kRow, from, stride, rows);
}

/// Asks for the decays per channel of a chunk, float32, in rows of kStride.
template <int kSize, int kThreads, int kStride>
__device__ __forceinline__ void ask_sums(float* to, const DeltaRuleParams& p,
                                         const HeadTokens& tokens) {
  constexpr int kOfRow = kSize / 4, kStep = kThreads / kOfRow;
  const int row = threadIdx.x / kOfRow, four = threadIdx.x % kOfRow;
  uint32_t place = shared_address(to + row * kStride + 4 * four);
  const float* from = p.decay + (tokens.first + row * tokens.stride) * kSize + 4 * four;
#pragma unroll
  for (int i = 0; i < kChunk; i += kStep) {
    const bool valid = row + i < tokens.rows;
    copy_async(place, valid ? from : p.decay, valid);
    place += kStep * kStride * 4, from += kStep * tokens.stride * kSize;
  }
}

/// Asks for kFloats contiguous numbers.
template <int kFloats, int kThreads>
__device__ __forceinline__ void ask_floats(uint32_t to, const float* from) {
  for (int i = threadIdx.x; i < kFloats / 4; i += kThreads) {
    copy_async(to + 16 * i, from + 4 * i, true);
  }
}

/// Factors of products out of swizzled tiles of kColumns; rows and columns in units of 16.
/// Left factor from rows m, columns k as stored.
template <int kColumns>
__device__ __forceinline__ void left_of(uint32_t (&a)[4], uint32_t tile, int m, int k) {
  const int lane = threadIdx.x % 32;
  load_matrices(a, tile + swizzled<2 * kColumns>(16 * m + lane % 16, 2 * k + lane / 16));
}
/// Left factor of the transposed tile: stored as rows k, columns m.
template <int kColumns>
__device__ __forceinline__ void left_transposed(uint32_t (&a)[4], uint32_t tile, int m, int k) {
  const int lane = threadIdx.x % 32;
  load_transposed(
      a, tile + swizzled<2 * kColumns>(16 * k + lane % 8 + lane / 16 * 8, 2 * m + lane / 8 % 2));
}
/// Right factor of 16 columns n, stored as rows n, columns k: b[0], b[1] are of the first eight.
template <int kColumns>
__device__ __forceinline__ void right_by_rows(uint32_t (&b)[4], uint32_t tile, int n, int k) {
  const int lane = threadIdx.x % 32;
  load_matrices(
      b, tile + swizzled<2 * kColumns>(16 * n + lane % 8 + lane / 16 * 8, 2 * k + lane / 8 % 2));
}
/// The same, stored as rows k, columns n.
template <int kColumns>
__device__ __forceinline__ void right_by_columns(uint32_t (&b)[4], uint32_t tile, int n, int k) {
  const int lane = threadIdx.x % 32;
  load_transposed(b, tile + swizzled<2 * kColumns>(16 * k + lane % 16, 2 * n + lane / 16));
}

/// c [16, 16] += a [16, 16] b [16, 16].
__device__ __forceinline__ void multiply_pair(float (&c0)[4], float (&c1)[4],
                                              const uint32_t (&a)[4], const uint32_t (&b)[4]) {
  multiply_add(c0, a, b[0], b[1]);
  multiply_add(c1, a, b[2], b[3]);
}

/// Two neighbouring tiles of a product as the left factor of the next one.
__device__ __forceinline__ void left_from(uint32_t (&a)[4], const float (&c0)[4],
                                          const float (&c1)[4]) {
  a[0] = pack(c0[0], c0[1]), a[1] = pack(c0[2], c0[3]);
  a[2] = pack(c1[0], c1[1]), a[3] = pack(c1[2], c1[3]);
}

/// An 8x8 matrix of a warp, transposed.
__device__ __forceinline__ uint32_t transposed(uint32_t x) {
  uint32_t y;
  asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(y) : "r"(x));
  return y;
}

/// 16 columns of a row, two pairs in each of four neighbouring lanes: lane t holds columns 2t, 2t+1
/// of both halves. They are written in order, 8 bytes a lane.
__device__ __forceinline__ void store_halves(char* row, uint32_t low, uint32_t high, bool valid) {
  const int lane = threadIdx.x % 32, t = lane % 4;
  const int from = lane - t + t % 2 * 2;
  const uint32_t a0 = __shfl_sync(~0U, low, from), a1 = __shfl_sync(~0U, low, from + 1);
  const uint32_t b0 = __shfl_sync(~0U, high, from), b1 = __shfl_sync(~0U, high, from + 1);
  if (valid)
    *reinterpret_cast<uint2*>(row + 8 * t) = t < 2 ? make_uint2(a0, a1) : make_uint2(b0, b1);
}

/// x^T of 16 columns (rows of the product) and 16 tokens, a left factor, to rows of tokens: `at` is
/// the first token's place, tokens from `rows` on are left out.
__device__ __forceinline__ void store_by_token(char* at, int64_t stride, const uint32_t (&x)[4],
                                               int rows) {
  const int token = threadIdx.x % 32 / 4;
  store_halves(at + token * stride, transposed(x[0]), transposed(x[1]), token < rows);
  store_halves(at + (token + 8) * stride, transposed(x[2]), transposed(x[3]), token + 8 < rows);
}

__device__ __forceinline__ float2 pair_of(uint32_t x) {
  return make_float2(__uint_as_float(x << 16), __uint_as_float(x & 0xffff0000U));
}

/// A pair of numbers as the sum of two pairs of bfloat16.
__device__ __forceinline__ void split_pair(uint32_t& high, uint32_t& low, float x, float y) {
  high = pack(x, y);
  const float2 rounded = pair_of(high);
  low = pack(x - rounded.x, y - rounded.y);
}

}  // namespace hypenet::kernels::cuda
