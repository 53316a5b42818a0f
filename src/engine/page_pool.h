// Pages that several may hold: sequences, and kept prompts. No torch: numbers only.
#pragma once

#include <cstdint>
#include <numeric>
#include <vector>

namespace hypenet {

/// Numbers 0 to n - 1, each free or held so many times.
class PagePool {
 public:
  explicit PagePool(int64_t pages)
      : holders_(static_cast<size_t>(pages), 0), free_(static_cast<size_t>(pages)) {
    std::iota(free_.rbegin(), free_.rend(), 0);  // the first ones are taken from the back
  }

  int64_t pages() const { return static_cast<int64_t>(holders_.size()); }
  int64_t free() const { return static_cast<int64_t>(free_.size()); }
  int32_t holders(int32_t page) const { return holders_[static_cast<size_t>(page)]; }

  /// A free one, held once; there must be one.
  int32_t take() {
    const int32_t page = free_.back();
    free_.pop_back();
    holders_[static_cast<size_t>(page)] = 1;
    return page;
  }
  void hold(int32_t page) { ++holders_[static_cast<size_t>(page)]; }

  /// Whether nobody holds it any more; then it may be put back.
  bool drop(int32_t page) { return --holders_[static_cast<size_t>(page)] == 0; }
  void put_back(int32_t page) { free_.push_back(page); }

 private:
  std::vector<int32_t> holders_;
  std::vector<int32_t> free_;
};

}  // namespace hypenet
