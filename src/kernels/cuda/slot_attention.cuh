// What the kernels of slot attention share: where a chunk's parts lie between them, a head's rows,
// and the table of what is left of each token's write, by blocks of 16.
#pragma once

#include "kernels/cuda/delta_rule.cuh"
#include "kernels/cuda/slot_attention.h"

namespace hypenet::kernels::cuda {

constexpr int kSlots = 64;  // columns of all tables; those from M on hold no slot
constexpr int kBlocks = kChunk / 16;
constexpr int kWindowBlocks = 5;  // that a block of 16 has in its window
constexpr int kTileRows = 2 * kChunk;
constexpr float kBits = 1.44269504F;  // of a nat
// A token fades a slot by this at most: what would be left of it, 0.03 %, is less than bfloat16
// can tell, and no factor within a block of 16 passes exp(64).
constexpr float kMostFade = 8;
// A write of share 0 counts as this, so that gradients may be divided by the share.
constexpr float kLeastShare = 1e-30F;

/// Scratch memory; pieces are chunks, those of a head side by side.
struct SlotScratch {
  char* left;   // bfloat16 [B, G, N, 64, 64]: share of token j, times what is left at the end
  float* kept;  // [B, G, N, 1 + 4, 64]: of a slot over the chunk, and up to each block's middle
  char* keys;   // bfloat16 [B, G, N, 64, d]: slots before each chunk, keys transposed
  char* values;
  // For the gradients, after each chunk.
  char *dkeys, *dvalues;
  // bfloat16 [B, H, N, 64, 64]: gradients of scores, and weights, times the factor of their reader.
  char *dscores, *weights;
  float* reads;    // [B, G, N, 64, 64]: gradient of F as readers of a chunk have it
  float* deltas;   // [B, H, N, 64]: do . o, from weights and their gradients
  int64_t chunks;  // N
  int64_t bytes;   // in all
};

struct SlotWork {
  SlotAttentionParams p;
  SlotScratch scratch;
};
struct SlotBackwardWork {
  SlotAttentionBackwardParams p;
  SlotScratch scratch;
};

/// 2^x within 2e-7; 0 below -126.
__device__ __forceinline__ float power_of_two(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

Status chain_slots(const SlotWork& work, Stream stream);
Status chain_slots_backward(const SlotBackwardWork& work, Stream stream);
Status read_slots(const SlotWork& work, Stream stream);
Status read_slots_backward(const SlotBackwardWork& work, Stream stream);
Status write_slots_backward(const SlotBackwardWork& work, Stream stream);

/// Bytes of shared memory that a block of each kernel takes.
int64_t read_slots_bytes(int64_t size);
int64_t read_slots_backward_bytes(int64_t size);
int64_t write_slots_backward_bytes(int64_t size);

/// What a block works on: chunk blockIdx.x of key head blockIdx.y of all.
struct SlotBlock {
  int64_t chunk, head, b, g;  // head = b * G + g
  int group;                  // query heads of it
  int64_t lead;               // tokens that the chunks' tiles begin before the key tensors do

  __device__ __forceinline__ explicit SlotBlock(const SlotAttentionSizes& s)
      : chunk(blockIdx.x),
        head(blockIdx.y),
        b(blockIdx.y / static_cast<unsigned>(s.key_heads)),
        g(blockIdx.y % static_cast<unsigned>(s.key_heads)),
        group(static_cast<int>(s.heads / s.key_heads)),
        lead(s.window - s.past) {}

  /// Of a tile whose row r is key token first_token() + r.
  __device__ __forceinline__ int64_t first_token() const { return chunk * kChunk - lead; }
  /// Where a token of the key tensors is, in units of a head's numbers.
  __device__ __forceinline__ int64_t key_row(const SlotAttentionSizes& s, int64_t token) const {
    return (b * (s.past + s.tokens) + token) * s.key_heads + g;
  }
  __device__ __forceinline__ int64_t query_row(const SlotAttentionSizes& s, int64_t token,
                                               int of_group) const {
    return (b * s.tokens + token) * s.heads + g * group + of_group;
  }
  /// The chunk's piece among those of key heads, and of a query head.
  __device__ __forceinline__ int64_t piece(int64_t chunks) const { return head * chunks + chunk; }
  __device__ __forceinline__ int64_t query_piece(int64_t chunks, int of_group) const {
    return (head * group + of_group) * chunks + chunk;
  }
};

/// Rows of a tile that are there.
struct RowRange {
  int begin, end;
};

__device__ __forceinline__ RowRange rows_within(int64_t first, int64_t count, int rows) {
  const int64_t begin = first < 0 ? -first : 0, end = count - first;
  return {static_cast<int>(begin < rows ? begin : rows), static_cast<int>(end < 0      ? 0
                                                                          : end < rows ? end
                                                                                       : rows)};
}

/// Asks for `rows` rows of kColumns bfloat16, swizzled; `base` is any address that may be read.
template <int kColumns>
__device__ __forceinline__ void ask_rows(uint32_t to, const void* base, int64_t first_byte,
                                         int64_t stride, RowRange range, int rows) {
  constexpr int kPieces = kColumns / 8;
  const char* const from = static_cast<const char*>(base);
  for (int i = threadIdx.x; i < rows * kPieces; i += static_cast<int>(blockDim.x)) {
    const int row = i / kPieces, piece = i % kPieces;
    const bool valid = row >= range.begin && row < range.end;
    copy_async(to + swizzled<2 * kColumns>(row, piece),
               valid ? from + first_byte + row * stride + 16 * piece : from, valid);
  }
}

/// Rows of a key tensor that a chunk's tile begins with.
template <int kSize>
__device__ __forceinline__ void ask_keys(uint32_t to, const void* tensor,
                                         const SlotAttentionSizes& s, const SlotBlock& at,
                                         int rows) {
  const int64_t first = at.first_token(), stride = s.key_heads * kSize * 2;
  ask_rows<kSize>(to, tensor, at.key_row(s, first) * kSize * 2, stride,
                  rows_within(first, s.past + s.tokens, rows), rows);
}

/// Rows of a query tensor from token `first` on.
template <int kSize>
__device__ __forceinline__ void ask_queries(uint32_t to, const void* tensor,
                                            const SlotAttentionSizes& s, const SlotBlock& at,
                                            int of_group, int64_t first, int rows) {
  ask_rows<kSize>(to, tensor, at.query_row(s, first, of_group) * kSize * 2, s.heads * kSize * 2,
                  rows_within(first, s.tokens, rows), rows);
}

/// A contiguous tile of 64 rows.
template <int kColumns>
__device__ __forceinline__ void ask_piece(uint32_t to, const void* array, int64_t piece) {
  ask_rows<kColumns>(to, array, piece * (kChunk * kColumns * 2), 2 * kColumns, {0, kChunk}, kChunk);
}

/// The decays of a chunk's entering tokens, one slot's of 16 tokens: nats, 0 where there is none.
struct FadedBlock {
  float decay[16];
  int block, slot;
  bool is_slot;

  __device__ __forceinline__ void load(const SlotWork& work, const SlotBlock& at, int item) {
    const SlotAttentionSizes& s = work.p.sizes;
    block = item / kSlots, slot = item % kSlots, is_slot = slot < s.slots;
    const int64_t first = at.first_token() + 16 * block, stride = s.key_heads * s.slots;
    const float* const from = work.p.decay + at.key_row(s, first) * s.slots + slot;
    // The tokens of this call's last window do not enter.
    const RowRange range = rows_within(first, s.past + s.tokens - s.window, 16);
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      const bool valid = i >= range.begin && i < range.end && is_slot;
      decay[i] = valid ? from[i * stride] : 0.0F;
    }
  }
  /// In bits.
  static __device__ __forceinline__ float fade(float decay) {
    return kBits * fminf(decay, kMostFade);
  }
  __device__ __forceinline__ float share(int i) const {
    return is_slot ? fmaxf(-expm1f(-decay[i]), kLeastShare) : 0.0F;
  }
};

/// With F the sum of -fade (in bits) up to and with a token and r the middle token of reading
/// block a, what a slot has of token j's write at r: share_j exp(F_r - F_j), for blocks a >= b of
/// tokens j. Its inverse part, exp(F_i - F_r), is the reader's factor.
struct FadeTable {
  static constexpr int kStride = kSlots + 8;             // floats of a token
  static constexpr int kSums = kChunk * kStride * 4;     // bytes of F
  static constexpr int kWritten = 10 * 16 * kSlots * 2;  // bytes of the table
  static constexpr int kMiddle = 7;

  float* sums;    // [64, kStride]
  char* written;  // ten blocks [16, 64], swizzled

  static __device__ __forceinline__ int block_of(int reader, int writer) {
    return reader * (reader + 1) / 2 + writer;
  }
  static __device__ __forceinline__ uint32_t offset(int reader, int writer) {
    return block_of(reader, writer) * (16 * kSlots * 2);
  }

  /// By all threads, with barriers; the first 256 work.
  __device__ __forceinline__ void fill_sums(const SlotWork& work, const SlotBlock& at) const {
    for (int item = threadIdx.x; item < kBlocks * kSlots; item += static_cast<int>(blockDim.x)) {
      FadedBlock own;
      own.load(work, at, item);
      float sum = 0;
#pragma unroll
      for (int i = 0; i < 16; ++i) {
        sum -= FadedBlock::fade(own.decay[i]);
        sums[(16 * own.block + i) * kStride + own.slot] = sum;
      }
    }
    __syncthreads();
    float before[2];
    int count = 0;
    for (int item = threadIdx.x; item < kBlocks * kSlots; item += static_cast<int>(blockDim.x)) {
      float sum = 0;
      for (int b = 0; b < item / kSlots; ++b) sum += sums[(16 * b + 15) * kStride + item % kSlots];
      before[count++ % 2] = sum;
    }
    __syncthreads();
    count = 0;
    for (int item = threadIdx.x; item < kBlocks * kSlots; item += static_cast<int>(blockDim.x)) {
      const float sum = before[count++ % 2];
#pragma unroll
      for (int i = 0; i < 16; ++i) {
        sums[(16 * (item / kSlots) + i) * kStride + item % kSlots] += sum;
      }
    }
    __syncthreads();
  }

  /// After fill_sums; needs a barrier behind it.
  __device__ __forceinline__ void fill_written(const SlotWork& work, const SlotBlock& at) const {
    for (int item = threadIdx.x; item < kBlocks * kSlots; item += static_cast<int>(blockDim.x)) {
      FadedBlock own;
      own.load(work, at, item);
      const float own_middle = sums[(16 * own.block + kMiddle) * kStride + own.slot];
      float left[16];  // at the block's own middle
#pragma unroll
      for (int i = 0; i < 16; ++i) {
        left[i] = own.share(i) *
                  power_of_two(own_middle - sums[(16 * own.block + i) * kStride + own.slot]);
      }
      for (int reader = own.block; reader < kBlocks; ++reader) {
        const float kept =
            power_of_two(sums[(16 * reader + kMiddle) * kStride + own.slot] - own_middle);
        char* const to = written + offset(reader, own.block) + own.slot % 8 * 2;
#pragma unroll
        for (int i = 0; i < 16; ++i) {
          *reinterpret_cast<__nv_bfloat16*>(to + swizzled<2 * kSlots>(i, own.slot / 8)) =
              __float2bfloat16_rn(left[i] * kept);
        }
      }
    }
  }

  __device__ __forceinline__ float2 sum_at(int row, int slot) const {
    return *reinterpret_cast<const float2*>(sums + row * kStride + slot);
  }
  /// exp(F) of a block's middle.
  __device__ __forceinline__ float2 middle_of(int block, int slot) const {
    const float2 sum = sum_at(16 * block + kMiddle, slot);
    return make_float2(power_of_two(sum.x), power_of_two(sum.y));
  }
  /// The factor of reader `row` of the block.
  __device__ __forceinline__ float2 reader(int block, int row, int slot) const {
    const float2 sum = sum_at(row, slot), middle = sum_at(16 * block + kMiddle, slot);
    return make_float2(power_of_two(sum.x - middle.x), power_of_two(sum.y - middle.y));
  }
};

/// A warp's place: block of 16 rows of its team's head.
struct SlotWarp {
  int team = threadIdx.x / 128, block = threadIdx.x / 32 % 4;
  int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  __device__ __forceinline__ int row(int i) const { return 16 * block + g + i / 2 * 8; }
};

/// A warp's 16 rows of a query tensor as left factors: all of them are asked for at once.
template <int kSize>
struct QueryFactors {
  uint32_t a[kSize / 16][4];

  __device__ __forceinline__ void load(const void* tensor, const SlotAttentionSizes& s,
                                       const SlotBlock& at, int of_group, const SlotWarp& own) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int64_t token = at.chunk * kChunk + own.row(2 * half);
      const bool valid = token < s.tokens;
      const char* const row =
          static_cast<const char*>(tensor) +
          (at.query_row(s, valid ? token : 0, of_group) * kSize + 2 * own.t) * 2;
#pragma unroll
      for (int k = 0; k < kSize / 16; ++k) {
#pragma unroll
        for (int i = half; i < 4; i += 2) {
          const char* const from = row + 32 * k + 16 * (i / 2);
          a[k][i] = valid ? __ldg(reinterpret_cast<const uint32_t*>(from)) : 0;
        }
      }
    }
  }
};

template <int kCount>
__device__ __forceinline__ void clear(float (&x)[kCount][4]) {
#pragma unroll
  for (int n = 0; n < kCount; ++n) x[n][0] = x[n][1] = x[n][2] = x[n][3] = 0;
}

__device__ __forceinline__ void scale_pair_by(float* x, float2 factor) {
  x[0] *= factor.x, x[1] *= factor.y;
}

/// Keeps, of a diagonal block of readers and writers, writers up to the reader.
__device__ __forceinline__ void keep_past(float (&x)[2][4], const SlotWarp& own) {
#pragma unroll
  for (int n = 0; n < 2; ++n) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (8 * n + 2 * own.t + i % 2 > own.g + i / 2 * 8) x[n][i] = 0;
    }
  }
}

/// Calls visit(tile, first element of the pair, row, slot) for the pairs of a [16, 64] product.
template <class Visit>
__device__ __forceinline__ void for_each_slots(const SlotWarp& own, const Visit& visit) {
#pragma unroll
  for (int n = 0; n < kSlots / 8; ++n) {
#pragma unroll
    for (int i = 0; i < 4; i += 2) visit(n, i, own.row(i), 8 * n + 2 * own.t);
  }
}

/// sums [16, 64] of readers, before their factor: of the slots at the chunk's start (`state`,
/// [64, d]) and the tokens that entered since (`tokens`, [64, d]).
template <int kSize>
__device__ __forceinline__ void read_within(float (&sums)[kSlots / 8][4],
                                            const QueryFactors<kSize>& queries, uint32_t state,
                                            uint32_t tokens, const FadeTable& table,
                                            uint32_t written, const SlotWarp& own) {
  float scores[kBlocks][2][4];
  clear(sums);
#pragma unroll
  for (int j = 0; j < kBlocks; ++j) clear(scores[j]);
#pragma unroll
  for (int k = 0; k < kSize / 16; ++k) {
    uint32_t b[4];
#pragma unroll
    for (int n = 0; n < kSlots / 16; ++n) {
      right_by_rows<kSize>(b, state, n, k);
      multiply_pair(sums[2 * n], sums[2 * n + 1], queries.a[k], b);
    }
#pragma unroll
    for (int j = 0; j < kBlocks; ++j) {
      if (j > own.block) continue;
      right_by_rows<kSize>(b, tokens, j, k);
      multiply_pair(scores[j][0], scores[j][1], queries.a[k], b);
    }
  }
  for_each_slots(own, [&](int n, int i, int, int slot) {
    scale_pair_by(sums[n] + i, table.middle_of(own.block, slot));
  });
#pragma unroll
  for (int j = 0; j < kBlocks; ++j) {
    if (j > own.block) continue;
    if (j == own.block) keep_past(scores[j], own);
    uint32_t a[4], b[4];
    left_from(a, scores[j][0], scores[j][1]);
#pragma unroll
    for (int n = 0; n < kSlots / 16; ++n) {
      right_by_columns<kSlots>(b, written + FadeTable::offset(own.block, j), n, 0);
      multiply_pair(sums[2 * n], sums[2 * n + 1], a, b);
    }
  }
}

/// sums [16, d] += what readers' numbers of each slot (times their factor, left factors) make of
/// the slots at the chunk's start and of the tokens since.
template <int kSize>
__device__ __forceinline__ void mean_within(float (&sums)[kSize / 8][4],
                                            const uint32_t (&of_slots)[kSlots / 16][4],
                                            uint32_t state, uint32_t tokens, const FadeTable& table,
                                            uint32_t written, const SlotWarp& own) {
  uint32_t b[4];
#pragma unroll
  for (int k = 0; k < kSlots / 16; ++k) {
    const float2 low = table.middle_of(own.block, 16 * k + 2 * own.t);
    const float2 high = table.middle_of(own.block, 16 * k + 8 + 2 * own.t);
    const uint32_t a[4] = {
        scale_pair(of_slots[k][0], low.x, low.y), scale_pair(of_slots[k][1], low.x, low.y),
        scale_pair(of_slots[k][2], high.x, high.y), scale_pair(of_slots[k][3], high.x, high.y)};
#pragma unroll
    for (int n = 0; n < kSize / 16; ++n) {
      right_by_columns<kSize>(b, state, n, k);
      multiply_pair(sums[2 * n], sums[2 * n + 1], a, b);
    }
  }
#pragma unroll
  for (int j = 0; j < kBlocks; ++j) {
    if (j > own.block) continue;
    float weights[2][4];
    clear(weights);
#pragma unroll
    for (int k = 0; k < kSlots / 16; ++k) {
      right_by_rows<kSlots>(b, written + FadeTable::offset(own.block, j), 0, k);
      multiply_pair(weights[0], weights[1], of_slots[k], b);
    }
    if (j == own.block) keep_past(weights, own);
    uint32_t a[4];
    left_from(a, weights[0], weights[1]);
#pragma unroll
    for (int n = 0; n < kSize / 16; ++n) {
      right_by_columns<kSize>(b, tokens, n, j);
      multiply_pair(sums[2 * n], sums[2 * n + 1], a, b);
    }
  }
}

/// Rows of a [16, d] product, times a factor each, to a query head's tokens.
template <int kSize>
__device__ __forceinline__ void store_queries(void* tensor, const float (&sums)[kSize / 8][4],
                                              const float (&factor)[2], const SlotAttentionSizes& s,
                                              const SlotBlock& at, int of_group,
                                              const SlotWarp& own) {
#pragma unroll
  for (int i = 0; i < 4; i += 2) {
    const int64_t token = at.chunk * kChunk + own.row(i);
    const bool valid = token < s.tokens;
    const float f = factor[i / 2];
    char* const to =
        static_cast<char*>(tensor) + at.query_row(s, valid ? token : 0, of_group) * kSize * 2;
#pragma unroll
    for (int n = 0; n < kSize / 8; n += 2) {
      store_halves(to + 16 * n, pack(f * sums[n][i], f * sums[n][i + 1]),
                   pack(f * sums[n + 1][i], f * sums[n + 1][i + 1]), valid);
    }
  }
}

}  // namespace hypenet::kernels::cuda
