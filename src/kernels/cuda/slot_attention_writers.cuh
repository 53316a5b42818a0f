// A block of the writers' gradients: its shared memory, and what a warp of 16 tokens sums over the
// query heads, following the slots or the window.
#pragma once

#include "kernels/cuda/slot_attention.cuh"

namespace hypenet::kernels::cuda {

constexpr int kWriterThreads = 256;

template <int kSize>
struct WriterTiles {
  static constexpr int kTile = kChunk * kSize * 2, kSquare = kChunk * kSlots * 2;
  static constexpr int kKeys = 0;
  static constexpr int kRotatedKeys = kKeys + kTile;
  static constexpr int kValues = kRotatedKeys + kTile;
  static constexpr int kDkeys = kValues + kTile;  // of the slots after the chunk
  static constexpr int kDvalues = kDkeys + kTile;
  static constexpr int kWritten = kDvalues + kTile;
  static constexpr int kSums = kWritten + FadeTable::kWritten;  // F, then the writers' gradients
  // Of one query head, a set; with two a block asks for its next head early. The two of 128 rows
  // begin a chunk earlier.
  static constexpr int kSets = kSize == 64 ? 2 : 1;
  static constexpr int kFirstSet = kSums + FadeTable::kSums;
  static constexpr int kQueries = 0;
  static constexpr int kRotatedQueries = kQueries + kTile;
  static constexpr int kDoutput = kRotatedQueries + 2 * kTile;
  static constexpr int kDscores = kDoutput + 2 * kTile;
  static constexpr int kWeights = kDscores + kSquare;
  static constexpr int kLogSums = kWeights + kSquare;
  static constexpr int kDeltas = kLogSums + 4 * kTileRows;
  static constexpr int kSet = kDeltas + 4 * kTileRows;
  // Of each slot: e^F times what the slots before have, tails of a warp's tokens, sums of a block.
  static constexpr int kStarts = kFirstSet + kSets * kSet;
  static constexpr int kTails = kStarts + 4 * kSlots;
  static constexpr int kTotals = kTails + 4 * kBlocks * kSlots;
  static constexpr int kBytes = kTotals + 4 * kBlocks * kSlots;
  // At the end: dv of the window's team, and what is left of the tokens' writes.
  static constexpr int kWindowDv = kFirstSet;
  static constexpr int kLeft = kWindowDv + 4 * kChunk * kSize;
  static_assert(kLeft + kSquare <= kStarts);
};

/// Sums of a team of four warps, [64, 8 kTiles], through shared memory: a thread's own.
template <int kTiles>
__device__ __forceinline__ void hand_over(char* place, const float (&x)[kTiles][4],
                                          const SlotWarp& own) {
  float4* const to = reinterpret_cast<float4*>(place) + own.block * kTiles * 32 + own.lane;
#pragma unroll
  for (int n = 0; n < kTiles; ++n) to[32 * n] = make_float4(x[n][0], x[n][1], x[n][2], x[n][3]);
}
template <int kTiles>
__device__ __forceinline__ void take_over(const char* place, float (&x)[kTiles][4],
                                          const SlotWarp& own) {
  const float4* const from =
      reinterpret_cast<const float4*>(place) + own.block * kTiles * 32 + own.lane;
#pragma unroll
  for (int n = 0; n < kTiles; ++n) {
    const float4 y = from[32 * n];
    x[n][0] += y.x, x[n][1] += y.y, x[n][2] += y.z, x[n][3] += y.w;
  }
}

/// Asks for a head's tiles; one that is not there is an empty group of copies.
template <int kSize>
__device__ __forceinline__ void ask_head(const SlotBackwardWork& work, const SlotBlock& at,
                                         uint32_t set, int of_group) {
  using L = WriterTiles<kSize>;
  const SlotAttentionParams& p = work.p.forward;
  const int64_t first = at.chunk * kChunk, before = first - kChunk, chunks = work.scratch.chunks;
  if (of_group < at.group) {
    ask_queries<kSize>(set + L::kQueries, p.q, p.sizes, at, of_group, first, kChunk);
    ask_queries<kSize>(set + L::kRotatedQueries, p.rotated_q, p.sizes, at, of_group, before,
                       kTileRows);
    ask_queries<kSize>(set + L::kDoutput, work.p.doutput, p.sizes, at, of_group, before, kTileRows);
    if (at.chunk < chunks) {
      const int64_t piece = at.query_piece(chunks, of_group);
      ask_piece<kSlots>(set + L::kDscores, work.scratch.dscores, piece);
      ask_piece<kSlots>(set + L::kWeights, work.scratch.weights, piece);
    }
    // Readers that are not there have no queries and gradients: any number will do.
    constexpr int kPieces = kTileRows / 4;
    const int i = static_cast<int>(threadIdx.x);
    if (i < 2 * kPieces) {
      const int64_t token = before + i % kPieces * 4;
      const bool valid = token >= 0 && token < chunks * kChunk;
      const float* const from = i < kPieces ? p.log_sums : work.scratch.deltas;
      copy_async(set + L::kLogSums + 16 * i,
                 from + (valid ? (at.head * at.group + of_group) * chunks * kChunk + token : 0),
                 valid);
    }
  }
  commit_copies();
}

/// Calls use(set) for each head, by all threads alike.
template <int kSize, class Use>
__device__ __forceinline__ void for_each_head(const SlotBackwardWork& work, const SlotBlock& at,
                                              char* shared, const Use& use) {
  using L = WriterTiles<kSize>;
  constexpr bool kAsksEarly = L::kSets == 2;
  char* const sets = shared + L::kFirstSet;
  const uint32_t base = shared_address(sets);
  if (kAsksEarly) ask_head<kSize>(work, at, base, 0);
  for (int h = 0; h < at.group; ++h) {
    if (!kAsksEarly) {
      __syncthreads();
      ask_head<kSize>(work, at, base, h);
    }
    wait_copies<0>();
    __syncthreads();
    const int set = kAsksEarly ? h % 2 * L::kSet : 0;
    if (kAsksEarly) ask_head<kSize>(work, at, base + (L::kSet - set), h + 1);
    use(sets + set);
  }
}

/// The window's part: dv and the gradient of rotated k, of a warp's 16 tokens.
template <int kSize>
struct WindowWriter {
  float dv[kSize / 8][4], dkeys[kSize / 8][4];
  SlotWarp own;

  __device__ __forceinline__ WindowWriter() { clear(dv), clear(dkeys); }

  /// `set` is the head's.
  __device__ __forceinline__ void add_head(const SlotAttentionParams& p, const SlotBlock& at,
                                           const char* shared, const char* set) {
#pragma unroll 1
    for (int j = 0; j + 1 < kWindowBlocks; j += 2) add_blocks<2>(p, at, shared, set, j);
    add_blocks<1>(p, at, shared, set, kWindowBlocks - 1);
  }

  /// Of blocks j .. of those readers that have the tokens in their windows.
  template <int kCount>
  __device__ __forceinline__ void add_blocks(const SlotAttentionParams& p, const SlotBlock& at,
                                             const char* shared, const char* set, int j) {
    using L = WriterTiles<kSize>;
    const uint32_t base = shared_address(shared), head = shared_address(set);
    const float* const log_sums = reinterpret_cast<const float*>(set + L::kLogSums);
    const float* const deltas = reinterpret_cast<const float*>(set + L::kDeltas);
    const int64_t first = p.first_key != nullptr ? p.first_key[at.b] : p.sizes.past;
    const int window = static_cast<int>(p.sizes.window);
    float scores[2 * kCount][4], dweights[2 * kCount][4];
    clear(scores), clear(dweights);
    uint32_t a[4], v[4], b[4];
#pragma unroll
    for (int k = 0; k < kSize / 16; ++k) {
      left_of<kSize>(a, base + L::kRotatedKeys, own.block, k);
      left_of<kSize>(v, base + L::kValues, own.block, k);
#pragma unroll
      for (int n = 0; n < kCount; ++n) {
        right_by_rows<kSize>(b, head + L::kRotatedQueries, own.block + j + n, k);
        multiply_pair(scores[2 * n], scores[2 * n + 1], a, b);
        right_by_rows<kSize>(b, head + L::kDoutput, own.block + j + n, k);
        multiply_pair(dweights[2 * n], dweights[2 * n + 1], v, b);
      }
    }
#pragma unroll
    for (int n = 0; n < 2 * kCount; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int key = own.row(i), place = 16 * (own.block + j) + 8 * n + 2 * own.t + i % 2;
        const int reader = place - kChunk;
        const bool sees = key > reader && key <= reader + window && at.first_token() + key >= first;
        const float x = scores[n][i] * (p.scale * kBits) - log_sums[place];
        scores[n][i] = sees ? power_of_two(x) : 0.0F;
        dweights[n][i] = scores[n][i] * p.scale * (dweights[n][i] - deltas[place]);
      }
    }
#pragma unroll
    for (int m = 0; m < kCount; ++m) {
      left_from(a, scores[2 * m], scores[2 * m + 1]);
      left_from(v, dweights[2 * m], dweights[2 * m + 1]);
#pragma unroll
      for (int n = 0; n < kSize / 16; ++n) {
        right_by_columns<kSize>(b, head + L::kDoutput, n, own.block + j + m);
        multiply_pair(dv[2 * n], dv[2 * n + 1], a, b);
        right_by_columns<kSize>(b, head + L::kRotatedQueries, n, own.block + j + m);
        multiply_pair(dkeys[2 * n], dkeys[2 * n + 1], v, b);
      }
    }
  }
};

/// Keeps, of a diagonal block of writers and readers, readers from the writer on.
__device__ __forceinline__ void keep_future(float (&x)[2][4], const SlotWarp& own) {
#pragma unroll
  for (int n = 0; n < 2; ++n) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (8 * n + 2 * own.t + i % 2 < own.g + i / 2 * 8) x[n][i] = 0;
    }
  }
}

/// The slots' part, of a warp's 16 tokens: dk, dv, and the gradient of what they wrote times it.
template <int kSize>
struct SlotWriter {
  float dk[kSize / 8][4], dv[kSize / 8][4], written[kSlots / 8][4];
  SlotWarp own;

  __device__ __forceinline__ SlotWriter() { clear(dk), clear(dv), clear(written); }

  /// The readers of one block of 16, the warp's own or a later one; `set` is the head's.
  __device__ __forceinline__ void add_block(const char* shared, const char* set, int block) {
    using L = WriterTiles<kSize>;
    const uint32_t base = shared_address(shared), head = shared_address(set);
    const uint32_t table = L::kWritten + FadeTable::offset(block, own.block);
    // k . q and v . do, and what was written times the readers' numbers: 16 tokens, 16 readers.
    float of_k[2][4], of_v[2][4], of_scores[2][4], of_weights[2][4];
    clear(of_k), clear(of_v), clear(of_scores), clear(of_weights);
    uint32_t a[4], v[4], b[4], c[4];
#pragma unroll
    for (int k = 0; k < kSize / 16; ++k) {
      left_of<kSize>(a, base + L::kKeys, own.block, k);
      right_by_rows<kSize>(b, head + L::kQueries, block, k);
      left_of<kSize>(v, base + L::kValues, own.block, k);
      right_by_rows<kSize>(c, head + L::kDoutput, kBlocks + block, k);
      multiply_pair(of_k[0], of_k[1], a, b);
      multiply_pair(of_v[0], of_v[1], v, c);
      if (k >= kSlots / 16) continue;
      left_of<kSlots>(a, base + table, 0, k);
      right_by_rows<kSlots>(b, head + L::kDscores, block, k);
      right_by_rows<kSlots>(c, head + L::kWeights, block, k);
      multiply_pair(of_scores[0], of_scores[1], a, b);
      multiply_pair(of_weights[0], of_weights[1], a, c);
    }
    if (block == own.block) {
      keep_future(of_k, own), keep_future(of_v, own);
      keep_future(of_scores, own), keep_future(of_weights, own);
    }
    float sums[kSlots / 8][4];
    clear(sums);
    left_from(a, of_k[0], of_k[1]), left_from(v, of_v[0], of_v[1]);
#pragma unroll
    for (int n = 0; n < kSlots / 16; ++n) {
      right_by_columns<kSlots>(b, head + L::kDscores, n, block);
      right_by_columns<kSlots>(c, head + L::kWeights, n, block);
      multiply_pair(sums[2 * n], sums[2 * n + 1], a, b);
      multiply_pair(sums[2 * n], sums[2 * n + 1], v, c);
    }
    for_each_slots(own, [&](int n, int i, int row, int slot) {
      const float2 x = pair_of(*reinterpret_cast<const uint32_t*>(
          shared + table + swizzled<2 * kSlots>(row % 16, slot / 8) + slot % 8 * 2));
      written[n][i] += x.x * sums[n][i], written[n][i + 1] += x.y * sums[n][i + 1];
    });
    left_from(a, of_scores[0], of_scores[1]), left_from(v, of_weights[0], of_weights[1]);
#pragma unroll
    for (int n = 0; n < kSize / 16; ++n) {
      right_by_columns<kSize>(b, head + L::kQueries, n, block);
      right_by_columns<kSize>(c, head + L::kDoutput, n, kBlocks + block);
      multiply_pair(dk[2 * n], dk[2 * n + 1], a, b);
      multiply_pair(dv[2 * n], dv[2 * n + 1], v, c);
    }
  }

  /// What later chunks read of the tokens; leaves the sums of `tails` over them.
  __device__ __forceinline__ void add_later(const char* shared, float* tails) {
    using L = WriterTiles<kSize>;
    const uint32_t base = shared_address(shared);
    uint32_t a[4], b[4];
#pragma unroll
    for (int k = 0; k < kSlots / 16; ++k) {
      left_of<kSlots>(a, base + L::kLeft, own.block, k);
#pragma unroll
      for (int n = 0; n < kSize / 16; ++n) {
        right_by_columns<kSize>(b, base + L::kDkeys, n, k);
        multiply_pair(dk[2 * n], dk[2 * n + 1], a, b);
        right_by_columns<kSize>(b, base + L::kDvalues, n, k);
        multiply_pair(dv[2 * n], dv[2 * n + 1], a, b);
      }
    }
    float sums[kSlots / 8][4];
    clear(sums);
#pragma unroll
    for (int k = 0; k < kSize / 16; ++k) {
      uint32_t v[4];
      left_of<kSize>(a, base + L::kKeys, own.block, k);
      left_of<kSize>(v, base + L::kValues, own.block, k);
#pragma unroll
      for (int n = 0; n < kSlots / 16; ++n) {
        right_by_rows<kSize>(b, base + L::kDkeys, n, k);
        multiply_pair(sums[2 * n], sums[2 * n + 1], a, b);
        right_by_rows<kSize>(b, base + L::kDvalues, n, k);
        multiply_pair(sums[2 * n], sums[2 * n + 1], v, b);
      }
    }
    for_each_slots(own, [&](int n, int i, int row, int slot) {
      const float2 x = pair_of(*reinterpret_cast<const uint32_t*>(
          shared + L::kLeft + swizzled<2 * kSlots>(row, slot / 8) + slot % 8 * 2));
      sums[n][i] *= x.x, sums[n][i + 1] *= x.y;
      written[n][i] += sums[n][i], written[n][i + 1] += sums[n][i + 1];
    });
#pragma unroll
    for (int n = 0; n < kSlots / 8; ++n) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        float total = sums[n][e] + sums[n][2 + e];
#pragma unroll
        for (int offset = 4; offset < 32; offset *= 2) {
          total += __shfl_xor_sync(~0U, total, offset);
        }
        if (own.g == 0) tails[own.block * kSlots + 8 * n + 2 * own.t + e] = total;
      }
    }
  }
};

}  // namespace hypenet::kernels::cuda
