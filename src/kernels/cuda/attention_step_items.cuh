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

/// The splits of all rows in order. A warp counts those of 128 rows at a time, four neighbours a
/// lane, and keeps the counts: finding one among them takes a few shuffles.
class Items {
 public:
  __device__ Items(const AttentionStepParams& p, int most_splits)
      : all_slots_(p.slots),
        all_positions_(p.positions),
        rows_(static_cast<int>(p.rows)),
        most_(most_splits) {
    count();
  }

  /// Whether there is an item of this index, which is not below the one before.
  __device__ bool find(int index, Item& item) {
    while (index >= before_ + all_) {
      if (first_ + kRowsOfWarp >= rows_) return false;
      before_ += all_, first_ += kRowsOfWarp;
      count();
    }
    const int owner = __ffs(__ballot_sync(~0U, before_ + upto_ > index)) - 1;
    int split = index - before_ - upto_, place = 0;
#pragma unroll
    for (int i = 0; i < kRows; ++i) split += counts_[i];
#pragma unroll
    for (int i = 0; i + 1 < kRows; ++i) {
      if (place == i && split >= counts_[i]) split -= counts_[i], place = i + 1;
    }
    int position = positions_[0], slot = slots_[0];
#pragma unroll
    for (int i = 1; i < kRows; ++i) {
      if (place == i) position = positions_[i], slot = slots_[i];
    }
    item.row = first_ + owner * kRows + __shfl_sync(~0U, place, owner);
    item.split = __shfl_sync(~0U, split, owner);
    item.position = __shfl_sync(~0U, position, owner);
    item.slot = __shfl_sync(~0U, slot, owner);
    return true;
  }

 private:
  static constexpr int kRows = 4, kRowsOfWarp = 32 * kRows;

  __device__ void count() {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      const int row = first_ + lane * kRows + i;
      slots_[i] = row < rows_ ? all_slots_[row] : -1;
      positions_[i] = row < rows_ ? all_positions_[row] : 0;
    }
    upto_ = 0;
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      counts_[i] = slots_[i] >= 0 ? Splits(positions_[i], most_).count : 0;
      upto_ += counts_[i];
    }
#pragma unroll
    for (int step = 1; step < 32; step *= 2) {
      const int left = __shfl_up_sync(~0U, upto_, step);
      if (lane >= step) upto_ += left;
    }
    all_ = __shfl_sync(~0U, upto_, 31);
  }

  const int32_t *all_slots_, *all_positions_;
  int rows_, most_;
  int first_ = 0, before_ = 0;  // of the rows that are counted; splits before
  int slots_[kRows], positions_[kRows], counts_[kRows];  // of this lane's rows
  int upto_, all_;  // splits of the lanes up to this one; of all
};

}  // namespace hypenet::kernels::cuda::attention
