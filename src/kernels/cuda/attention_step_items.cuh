// The splits of all rows of attention_step.cu, in order: blocks take them in turn, however many the
// rows have.
#pragma once

#include "kernels/attention_step.h"

namespace hypenet::kernels::cuda::attention {

constexpr int kSplitTokens = 128;  // of a split at least
constexpr int kSplitUnit = 64;     // splits begin at multiples of this

/// How the `tokens` of a row that are in the cache are cut: by their number and the device alone.
struct Splits {
  __device__ Splits(int tokens, int most) {
    const int even = (tokens + most - 1) / most;
    length = max(kSplitTokens, (even + kSplitUnit - 1) / kSplitUnit * kSplitUnit);
    count = max(1, (tokens + length - 1) / length);
  }
  int length, count;
};

/// One split of one row, of those that are.
struct Item {
  int row, split, position, slot;
};

/// The splits of all rows in order. A warp finds one by counting those of 128 rows at a time; each
/// lane has four neighbours.
class Items {
 public:
  __device__ Items(const AttentionStepParams& p, int most_splits)
      : slots_(p.slots),
        positions_(p.positions),
        rows_(static_cast<int>(p.rows)),
        most_(most_splits) {}

  /// Whether there is an item of this index, which is not below the one before.
  __device__ bool find(int index, Item& item) {
    const int lane = threadIdx.x % 32;
    for (; first_ < rows_; first_ += 32 * kRows) {
      int slots[kRows], positions[kRows], counts[kRows], own = 0;
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
        const int row = first_ + lane * kRows + i;
        slots[i] = row < rows_ ? slots_[row] : -1;
        positions[i] = row < rows_ ? positions_[row] : 0;
      }
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
        counts[i] = slots[i] >= 0 ? Splits(positions[i], most_).count : 0;
        own += counts[i];
      }
      int upto = own;
#pragma unroll
      for (int step = 1; step < 32; step *= 2) {
        const int left = __shfl_up_sync(~0U, upto, step);
        if (lane >= step) upto += left;
      }
      const int all = __shfl_sync(~0U, upto, 31);
      if (index >= before_ + all) {
        before_ += all;
        continue;
      }
      const int owner = __ffs(__ballot_sync(~0U, before_ + upto > index)) - 1;
      int split = index - before_ - (upto - own), place = 0;
#pragma unroll
      for (int i = 0; i + 1 < kRows; ++i) {
        if (place == i && split >= counts[i]) split -= counts[i], place = i + 1;
      }
      int position = positions[0], slot = slots[0];
#pragma unroll
      for (int i = 1; i < kRows; ++i) {
        if (place == i) position = positions[i], slot = slots[i];
      }
      item.row = first_ + owner * kRows + __shfl_sync(~0U, place, owner);
      item.split = __shfl_sync(~0U, split, owner);
      item.position = __shfl_sync(~0U, position, owner);
      item.slot = __shfl_sync(~0U, slot, owner);
      return true;
    }
    return false;
  }

 private:
  static constexpr int kRows = 4;
  const int32_t *slots_, *positions_;
  int rows_, most_;
  int first_ = 0, before_ = 0;  // rows that are counted, and their splits
};

}  // namespace hypenet::kernels::cuda::attention
