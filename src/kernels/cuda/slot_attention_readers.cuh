// What the readers of slot attention share forward and backward: a block's tiles, and the window.
#pragma once

#include "kernels/cuda/scratch.cuh"
#include "kernels/cuda/slot_attention.cuh"

namespace hypenet::kernels::cuda {

/// A block's shared memory: what all query heads of a key head read.
template <int kSize>
struct ReaderTiles {
  static constexpr int kTile = kChunk * kSize * 2;
  static constexpr int kSlotKeys = 0;
  static constexpr int kSlotValues = kSlotKeys + kTile;
  static constexpr int kKeys = kSlotValues + kTile;
  static constexpr int kRotatedKeys = kKeys + kTile;
  static constexpr int kValues = kRotatedKeys + 2 * kTile;
  static constexpr int kWritten = kValues + 2 * kTile;
  static constexpr int kSums = kWritten + FadeTable::kWritten;
  static constexpr int kBytes = kSums + FadeTable::kSums;

  uint32_t base;
  FadeTable table;

  __device__ __forceinline__ explicit ReaderTiles(char* shared)
      : base(shared_address(shared)),
        table{reinterpret_cast<float*>(shared + kSums), shared + kWritten} {}

  __device__ __forceinline__ uint32_t at(int tile) const { return base + tile; }

  /// By all threads, with a barrier behind it; values may still be on their way.
  __device__ __forceinline__ void fill(const SlotWork& work, const SlotBlock& block) const {
    const SlotAttentionParams& p = work.p;
    const int64_t piece = block.piece(work.scratch.chunks);
    ask_piece<kSize>(at(kSlotKeys), work.scratch.keys, piece);
    ask_keys<kSize>(at(kKeys), p.k, p.sizes, block, kChunk);
    ask_keys<kSize>(at(kRotatedKeys), p.rotated_k, p.sizes, block, kTileRows);
    commit_copies();
    ask_piece<kSize>(at(kSlotValues), work.scratch.values, piece);
    ask_keys<kSize>(at(kValues), p.v, p.sizes, block, kTileRows);
    commit_copies();
    table.fill_sums(work, block);
    table.fill_written(work, block);
    wait_copies<1>();
    __syncthreads();
  }
  /// By all threads.
  static __device__ __forceinline__ void wait_for_values() {
    wait_copies<0>();
    __syncthreads();
  }
};

/// Whether there are so many blocks that one team each is best: at d = 64 two blocks then share a
/// multiprocessor, and one computes while the other waits for its tiles.
inline bool has_many_blocks(const SlotWork& work) {
  const SlotAttentionSizes& s = work.p.sizes;
  return s.size == 64 && work.scratch.chunks * s.batch * s.key_heads >= 2 * processors_of_device();
}

/// Which rows of a key tile a reader of the chunk has in its window.
struct WindowMask {
  int window, begin, end;

  __device__ __forceinline__ WindowMask(const SlotAttentionParams& p, const SlotBlock& at) {
    const SlotAttentionSizes& s = p.sizes;
    const int64_t first = p.first_key != nullptr ? p.first_key[at.b] : s.past;
    const int64_t from = at.first_token() > first ? at.first_token() : first;
    const RowRange range = rows_within(at.first_token(), s.past + s.tokens, kTileRows);
    const int64_t skipped = from - at.first_token();
    window = static_cast<int>(s.window);
    begin = static_cast<int>(skipped < kTileRows ? skipped : kTileRows);
    if (begin < range.begin) begin = range.begin;
    end = range.end;
  }
  __device__ __forceinline__ bool sees(int reader, int key) const {
    return key > reader && key <= reader + window && key >= begin && key < end;
  }
};

/// sums [16, 80] += a warp's readers' products with the rows of a key tile from its block on.
template <int kSize>
__device__ __forceinline__ void multiply_window(float (&sums)[2 * kWindowBlocks][4],
                                                const QueryFactors<kSize>& queries, uint32_t keys,
                                                const SlotWarp& own) {
#pragma unroll
  for (int k = 0; k < kSize / 16; ++k) {
    uint32_t b[4];
#pragma unroll
    for (int j = 0; j < kWindowBlocks; ++j) {
      right_by_rows<kSize>(b, keys, own.block + j, k);
      multiply_pair(sums[2 * j], sums[2 * j + 1], queries.a[k], b);
    }
  }
}

/// Calls visit(tile, element, reader, row of the key tile) for a thread's part of such sums.
template <class Visit>
__device__ __forceinline__ void for_each_window(const SlotWarp& own, const Visit& visit) {
#pragma unroll
  for (int n = 0; n < 2 * kWindowBlocks; ++n) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      visit(n, i, own.row(i), 16 * own.block + 8 * n + 2 * own.t + i % 2);
    }
  }
}

}  // namespace hypenet::kernels::cuda
