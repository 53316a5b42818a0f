// Host memory for what is kept of prompts: units of one size, a page's bytes or a snapshot's.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include <cstdint>
#include <optional>
#include <vector>

namespace hypenet {

using torch::Tensor;

/// As many units as a budget holds; memory is taken in blocks when units are first needed, and
/// kept.
class HostUnits {
 public:
  HostUnits(int64_t unit_bytes, int64_t budget_bytes, bool is_pinned);

  std::optional<int32_t> take();
  /// What is taken is held once; it is free again when nobody holds it.
  void hold(int32_t unit) { ++holders_[static_cast<size_t>(unit)]; }
  void drop(int32_t unit) {
    if (--holders_[static_cast<size_t>(unit)] == 0) free_.push_back(unit);
  }

  Tensor at(int32_t unit) const;  // uint8 [unit_bytes]
  int64_t unit_bytes() const { return unit_bytes_; }
  int64_t most() const { return most_; }  // units
  int64_t used() const { return made_ - static_cast<int64_t>(free_.size()); }
  int64_t free() const { return most_ - used(); }

 private:
  int64_t unit_bytes_, most_, made_ = 0, block_units_;
  bool is_pinned_;
  std::vector<Tensor> blocks_;  // uint8 [block_units, unit_bytes], the last one maybe fewer
  std::vector<int32_t> holders_, free_;
};

}  // namespace hypenet
