// The memory that sequences lease: a slot each, and pages of tokens.
#pragma once

#include <torch/torch.h>

#include <optional>
#include <set>
#include <vector>

#include "engine/options.h"
#include "model/causal_lm.h"

namespace hypenet {

/// A GPU's memory, when its allocator has given back what no tensor uses.
struct DeviceBytes {
  int64_t free = 0, total = 0;
};
DeviceBytes free_bytes(torch::Device device);

/// What a sequence holds until it ends.
struct Lease {
  int64_t slot = 0;
  std::vector<int32_t> pages = {};  // in the order of its tokens
  Tensor pages_on_device = {};      // int64 [n], the same
};

/// Allocated once, of a stated size.
class Memory {
 public:
  /// Throws Error with the numbers when options.memory_bytes (by default: what the device has free)
  /// does not hold the slots' states and one page.
  Memory(CausalLm& model, const EngineOptions& options);

  /// Throws Error with the numbers when a sequence of so many tokens would not fit alone.
  void check_fits(int64_t tokens) const;

  /// A slot and pages for so many tokens, states cleared; none while others hold what it needs.
  std::optional<Lease> lease(int64_t tokens);

  /// Gives back; work on the device that was queued before may still use it.
  void release(Lease lease);

  DecodeState& state() { return state_; }
  const Tensor& page_table() const { return page_table_; }  // int32 [slots, n]
  Tensor used_page_table() const;  // as many columns as the longest lease has pages
  int64_t max_tokens() const { return max_tokens_; }  // of a sequence
  int64_t slots() const { return state_.sizes.slots; }
  int64_t pages() const { return state_.sizes.pages; }
  int64_t free_pages() const { return static_cast<int64_t>(free_pages_.size()); }

 private:
  Memory(CausalLm& model, const EngineOptions& options, const MemorySizes& sizes);
  int64_t pages_for(int64_t tokens) const;

  bool poisons_;
  int64_t max_tokens_;  // of a sequence
  DecodeState state_;
  Tensor page_table_;
  std::vector<int64_t> free_slots_;
  std::vector<int32_t> free_pages_;
  std::multiset<int64_t> lease_sizes_;  // in pages
};

}  // namespace hypenet
