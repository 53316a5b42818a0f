// The memory that sequences lease, a slot each and pages of tokens, and that kept prompts hold:
// pages, which they share with sequences, and slots of snapshots.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include <deque>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "engine/options.h"
#include "engine/page_pool.h"
#include "engine/side_copies.h"
#include "model/causal_lm.h"

namespace hypenet {

/// A GPU's memory, when its allocator has given back what no tensor uses.
struct DeviceBytes {
  int64_t free = 0, total = 0;
};
DeviceBytes free_bytes(torch::Device device);

/// How bytes for kept prompts are parted: half and half, where a model has states and pages.
struct CacheShares {
  int64_t snapshots = 0, pages = 0;  // bytes
};
CacheShares cache_shares(int64_t bytes, int64_t slot_bytes, int64_t page_bytes);

/// What a sequence holds until it ends.
struct Lease {
  int64_t slot = 0;
  std::vector<int32_t> pages = {};  // in the order of its tokens
};

/// Allocated once, of a stated size.
class Memory {
 public:
  /// Throws Error with the numbers when options.memory_bytes (by default: what the device has free)
  /// does not hold the slots' states and one page.
  Memory(CausalLm& model, const EngineOptions& options);

  /// Throws Error with the numbers when a sequence of so many tokens would not fit alone.
  void check_fits(int64_t tokens) const;

  /// A slot and pages for so many tokens, states cleared; none while others hold what it needs. The
  /// first pages are `shared` ones, which the lease holds from then on, too.
  std::optional<Lease> lease(int64_t tokens, std::span<const int32_t> shared = {});

  /// Adds pages until the lease has room for so many tokens; false, and nothing, where too few are
  /// free.
  bool grow(Lease& lease, int64_t tokens);

  /// Gives back its pages but not its slot.
  void release_pages(Lease& lease);

  /// Gives back; work on the device that was queued before may still use it.
  void release(Lease lease);

  // For kept prompts. What is dropped is free once the side copies that may read it are done.
  void hold_page(int32_t page) { pool_.hold(page); }
  std::optional<int32_t> take_page();
  void drop_page(int32_t page);
  std::optional<int32_t> take_snapshot();  // a slot, not of a sequence
  void drop_snapshot(int32_t slot);

  DecodeState& state() { return state_; }
  SideCopies& side() { return side_; }
  const PagePool& pool() const { return pool_; }
  const Tensor& page_table() const { return page_table_; }  // int32 [slots, n]
  Tensor used_page_table() const;             // as many columns as the longest lease has pages
  Tensor pages_of(const Lease& lease) const;  // int64 [n] on the device
  int64_t pages_for(int64_t tokens) const;
  int64_t max_tokens() const { return max_tokens_; }  // of a sequence
  int64_t slots() const { return slots_; }            // of sequences
  int64_t free_slots() const { return static_cast<int64_t>(free_slots_.size()); }
  int64_t snapshots() const { return state_.sizes.slots - slots_; }
  int64_t free_snapshots() const {
    return static_cast<int64_t>(free_snapshots_.size() + leaving_snapshots_.size());
  }
  int64_t pages() const { return pool_.pages(); }
  int64_t free_pages() const { return pool_.free() + static_cast<int64_t>(leaving_pages_.size()); }
  int64_t releases() const { return releases_; }  // grows whenever something is given back

 private:
  /// Dropped, but side copies up to the ticket may read it.
  struct Leaving {
    int64_t ticket;
    int32_t number;
  };
  Memory(CausalLm& model, const EngineOptions& options, const MemorySizes& sizes);
  void write_table(const Lease& lease, size_t first);
  void put_back_page(int32_t page);
  void put_back_snapshot(int32_t slot);

  bool poisons_;
  int64_t slots_, max_tokens_;  // of sequences, of a sequence
  DecodeState state_;
  SideCopies side_;
  Tensor page_table_;
  std::vector<int64_t> free_slots_;
  std::vector<int32_t> free_snapshots_;
  PagePool pool_;
  std::deque<Leaving> leaving_pages_, leaving_snapshots_;
  std::multiset<int64_t> lease_sizes_;  // in pages
  int64_t releases_ = 0;
};

}  // namespace hypenet
