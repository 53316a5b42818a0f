// Kept prompts with their pages and snapshots: on the device, where they share pages with
// sequences, in host memory, and in a store. Sequences come first: what is kept gives way at any
// time.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include <chrono>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "engine/disk_tier.h"
#include "engine/host_units.h"
#include "engine/memory.h"
#include "engine/prefix_tree.h"
#include "engine/saved_prefix.h"

namespace hypenet {

class PrefixCache {
 public:
  /// options.cache_bytes and cache_host_bytes of `memory`, which must outlive it.
  PrefixCache(Memory& memory, const EngineOptions& options, const PrefixTree::Sizes& sizes);

  PrefixTree::Match find(const std::string& salt, const PrefixTree::Prompt& prompt) {
    return tree_.find(salt_key(salt), prompt);
  }

  /// Knows what the store has from here on, and keeps there, in so many bytes, what gives way
  /// elsewhere. Once.
  void use_store(std::shared_ptr<PrefixStore> store, int64_t most_bytes);
  bool has_store() const { return disk_ != nullptr; }

  /// Between steps: what came from the disk is put in its place, what goes next is written.
  void take_from_disk();
  /// Begins to bring in what a disk has of it; false where there is no room.
  bool bring_near(const PrefixTree::Match& match);
  bool is_coming(PrefixNode& node) const;
  /// Seconds that it would take, by what reads took lately.
  double seconds_to_bring(const PrefixTree::Match& match) const;
  void wait_for_disk(std::chrono::milliseconds longest) { disk_->tier.wait_for_one(longest); }

  /// Writes all that is worth it to the store, and waits until it is there.
  void store_all();

  /// The tokens of every leaf that the store has, with their salts' keys.
  std::vector<StoredPrompt> stored_prompts() const;

  /// A lease for so many tokens whose first match.position ones are in place. The match sees no
  /// disk.
  struct Resumed {
    Lease lease;
    CacheTier tier = CacheTier::kNone;  // the farthest of what was used
    int64_t ticket = 0;                 // of the side copies that bring it
  };
  /// None while sequences hold what it needs.
  std::optional<Resumed> lease(const PrefixTree::Match& match, int64_t tokens);

  /// A sequence's piece that is in memory now: `tokens` follow those of `at`.
  struct Piece {
    std::span<const int32_t> tokens;
    bool is_exact = false, is_marked = false;
    const PrefixNode* thinning_keeps = nullptr;
    int64_t question = 0;  // where the prompt's last one begins
  };
  /// Keeps it, with a snapshot of the slot's states; the node that the sequence stands on then.
  PrefixNode* keep(PrefixNode* at, const Piece& piece, const Lease& lease);

  /// A sequence goes on from this node: it stays in the tree until `leave`.
  static void stand_on(PrefixNode* node) { ++node->users; }
  static void step_off(PrefixNode* node) { --node->users; }
  void leave(PrefixNode* node);

  /// Lets kept prompts give way until so many pages are free; false, and nothing, where sequences
  /// hold too many.
  bool make_room(int64_t pages);

  void clear();
  CacheStats stats() const;
  int64_t pages_kept_alone() const;  // pages on the device that no sequence holds and may go

  /// What Engine::save_prefix and restore_prefix say; both wait for the device.
  std::optional<SavedPrefix> save(std::span<const int32_t> tokens, const std::string& salt);
  int64_t restore(const SavedPrefix& prefix, const std::string& salt);

  /// Throws Error if a rule is broken; for tests.
  void check() const;
  /// Adds how many nodes hold each page of the device.
  void add_holders(std::vector<int32_t>& holders) const {
    for (size_t page = 0; page < kept_.size(); ++page) holders[page] += kept_[page];
  }

 private:
  bool give_way();
  bool is_in_use(int32_t page) const;
  void hold(PrefixNode& node, std::span<const int32_t> pages);
  void drop_pages(PrefixNode& node);
  void drop_snapshot(PrefixNode& node);
  void let_go(PrefixNode& node);
  void drop_branch(PrefixNode& node, bool writes);
  bool move_down(PrefixNode& node);
  bool move_snapshot_down(PrefixNode& node);
  void move_up(PrefixNode& node);
  bool has_host_room(double value, int64_t pages);
  void take_snapshot(PrefixNode& node, int64_t slot);
  std::optional<int32_t> device_snapshot();
  std::optional<int32_t> host_snapshot(double value);
  void shrink();
  std::vector<int32_t> shared_pages(const std::vector<PrefixNode*>& path, int64_t count) const;
  void place_states(const PrefixNode& node, int64_t slot);
  Tensor page_bytes_of(const PrefixNode& node, size_t place) const;
  Tensor state_bytes_of(const PrefixNode& node) const;
  bool bring_in(PrefixNode& node, const SavedPrefix::Piece& piece, std::span<const Tensor> pages);
  bool bring_pages_in(PrefixNode& node, std::span<const Tensor> pages);
  void fill_snapshot(PrefixNode& node, const Tensor& states);

  /// A job of the disk's thread: the node, which stays in the tree, and what it holds on the host.
  struct Transfer {
    PrefixNode* node = nullptr;
    std::vector<int32_t> pages = {};
    int32_t snapshot = -1;
    int64_t bytes = 0;  // of a write
  };
  struct Disk {
    Disk(std::shared_ptr<PrefixStore> store, int64_t most) : tier(std::move(store)), most(most) {}
    DiskTier tier;
    int64_t most, bytes = 0, snapshots = 0, writing = 0;    // bytes, bytes, files, bytes
    int64_t tickets = 0;                                    // so many were given
    std::deque<std::pair<int64_t, DiskTier::Job>> waiting;  // for side copies of the ticket
    std::map<int64_t, Transfer> transfers;                  // by ticket
  };
  void know(const std::vector<StoredPiece>& pieces);
  bool know(PrefixNode& node, const StoredPiece& piece);
  bool store(PrefixNode& node);
  StoredPiece piece_of(PrefixNode& node, bool with_states) const;
  void gather_pages(const PrefixNode& node, Transfer& transfer, DiskTier::Job& job);
  void gather_states(const PrefixNode& node, Transfer& transfer, DiskTier::Job& job);
  bool has_disk_room(PrefixNode& node, int64_t bytes);
  bool is_stored(const PrefixNode& node) const;
  void set_stored(PrefixNode& node, int64_t bytes, bool has_states);
  void forget_stored(PrefixNode& node);
  void lose(PrefixNode& node);
  void fetch(PrefixNode& node, bool with_pages, bool with_states);
  int64_t queue(DiskTier::Job job, Transfer transfer);
  void hand_over();
  void wait_for_transfers(int64_t most_bytes);
  void take(DiskTier::Job job);
  void take_read(Transfer& transfer, DiskTier::Job& job);
  void put(Transfer& transfer, DiskTier::Job& job);
  void write_ahead();

  Memory& memory_;
  DecodeState& state_;
  SideCopies& side_;
  PrefixTree tree_;
  int64_t most_pages_;   // on the device that no sequence holds
  int64_t most_tokens_;  // of the tree, with what it only remembers
  HostUnits host_pages_, host_snapshots_;
  std::vector<int32_t> kept_;           // how many nodes hold each page of the device
  int64_t pages_kept_ = 0;              // those that some node holds
  std::set<const PrefixNode*> locked_;  // do not give way now
  CacheStats stats_;
  std::unique_ptr<Disk> disk_;  // null: no store
};

}  // namespace hypenet
