// What is kept of prompts, by their tokens and the cuts among them. Numbers and handles only: who
// holds pages and copies them stands in prefix_cache.h.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/reuse.h"

namespace hypenet {

/// In memory, of the device or the host.
inline bool is_near(CacheTier tier) {
  return tier == CacheTier::kDevice || tier == CacheTier::kHost;
}

/// A piece of prompts: tokens begin to end - 1, read as one piece behind all its parents' ones. Its
/// pages are those that hold these tokens, the first and the last maybe in part; its snapshot holds
/// the states at its end. A child's pages lie never nearer than its parent's, a snapshot not nearer
/// than a disk where its pages lie there.
struct PrefixNode {
  PrefixNode* parent = nullptr;  // null: a root, which has no tokens
  std::vector<std::unique_ptr<PrefixNode>> children = {};
  int64_t begin = 0, end = 0;
  std::vector<int32_t> tokens = {};
  bool is_exact = true;    // it and its parents have the bits of a prefill cut like this
  bool is_marked = false;  // thinning leaves its snapshot
  CacheTier pages_in = CacheTier::kNone, snapshot_in = CacheTier::kNone;
  std::vector<int32_t> pages = {};  // handles in their tier; a disk has none
  int32_t snapshot = -1;
  /// What a store has of it, or will have soon, wherever else it lies.
  struct Stored {
    std::string id = {};  // empty: nobody asked; a root's is its salt
    int64_t bytes = 0;    // 0: nothing
    bool has_states = false;
    int64_t reading = 0, writing = 0;  // tickets of the last jobs under way; 0: none
  };
  Stored stored = {};
  bool was_evicted = false;
  int64_t users = 0;  // sequences that go on from here: it stays in the tree
  int64_t uses = 1;
  double age = 0;  // the tree's clock when it was used last
  uint64_t hash = 0;
  size_t place = 0;  // in the tree's list
};

class PrefixTree {
 public:
  struct Sizes {
    int64_t page_tokens = 128;
    int64_t page_bytes = 0, state_bytes = 0;  // 0: the model has none
  };
  explicit PrefixTree(const Sizes& sizes) : sizes_(sizes) {}

  /// What a prompt can go on from.
  struct Match {
    PrefixNode* node = nullptr;   // a root: nothing
    PrefixNode* rest = nullptr;   // not null: a child of `node` of which whole pages are used, too
    PrefixNode* known = nullptr;  // the deepest with this prompt's tokens, whatever is left of it
    int64_t position = 0;         // tokens that need not be computed
    int64_t alike = 0;  // tokens of the longest beginning that some kept prompt has, too; for
                        // kSalt, one of another salt
    ReuseMiss miss = ReuseMiss::kNone;
  };
  struct Prompt {
    std::span<const int32_t> tokens;
    std::span<const int64_t> cuts = {};  // for kExact
    ReuseMode mode = ReuseMode::kExact;
    int64_t limit = 0;       // the position is at most this
    bool sees_disk = false;  // goes on from what a disk has, too
  };
  /// kExact: along the prompt's own cuts. kNearest: to the deepest snapshot, wherever it lies.
  Match find(const std::string& salt, const Prompt& prompt);

  PrefixNode& root(const std::string& salt);

  /// The child with these tokens, a new one without pages and snapshot if there is none.
  PrefixNode& extend(PrefixNode& parent, std::span<const int32_t> tokens, bool is_exact);

  /// Makes the node and its parents the last used ones.
  void touch(PrefixNode& node);

  /// The node of least value among those with pages in a tier and no child with pages there.
  using MayGo = std::function<bool(const PrefixNode&)>;
  PrefixNode* cheapest_leaf(CacheTier tier, const MayGo& may_go);
  /// The node of least value among those with a snapshot in a tier.
  PrefixNode* cheapest_snapshot(CacheTier tier, const MayGo& may_go);
  /// The node of least worth among those that a store has and no child of theirs.
  PrefixNode* cheapest_stored(const MayGo& may_go);
  /// What losing these pages (and snapshot), or this snapshot alone, costs.
  double value_of_leaf(const PrefixNode& node) const;
  /// The most that it or something behind it is worth, which would be lost with it.
  double worth(const PrefixNode& node) const;
  double value_of_snapshot(const PrefixNode& node) const;
  /// Others are worth less from now on than what goes now was.
  void age_to(double value) { clock_ = std::max(clock_, value); }
  /// A node of an earlier tree: what it was worth there.
  void set_worth(PrefixNode& node, int64_t uses, double age) {
    node.uses = uses, node.age = age;
    age_to(age);
  }

  /// Nodes from a root to `leaf` whose snapshots need not be kept for it: kept are marked ones,
  /// those where branches part, `kept`, the last four, the last two before `question`, and of the
  /// rest as many that distances grow by two towards the front.
  std::vector<PrefixNode*> thinned(PrefixNode& leaf, const PrefixNode* kept, int64_t question);

  bool can_go_on_from(const PrefixNode& node) const;
  /// Numbers of pages that hold the node's tokens: [first, last).
  int64_t first_page(const PrefixNode& node) const { return node.begin / sizes_.page_tokens; }
  int64_t page_count(const PrefixNode& node) const;

  /// Forgets nodes without pages and snapshots that nobody uses, the oldest first, until the tree
  /// has at most so many tokens.
  void forget(int64_t most_tokens);

  const std::vector<PrefixNode*>& nodes() const { return nodes_; }  // but roots
  int64_t tokens() const { return tokens_; }
  const Sizes& sizes() const { return sizes_; }

  /// Throws Error if the tree breaks a rule of its own; for tests.
  void check() const;

 private:
  void walk_cuts(PrefixNode& root, const Prompt& prompt, Match& match) const;
  void walk_all(PrefixNode& root, const Prompt& prompt, Match& match) const;
  bool can_go_on_from(const PrefixNode& node, const Prompt& prompt) const;
  void take_rest(PrefixNode& child, int64_t alike, const Prompt& prompt, Match& match) const;
  ReuseMiss why_missed(const std::string& salt, const Prompt& prompt, Match& match);
  void remove(PrefixNode& node);
  bool is_empty(const PrefixNode& node) const;

  Sizes sizes_;
  std::map<std::string, std::unique_ptr<PrefixNode>> roots_;  // by salt
  std::vector<PrefixNode*> nodes_;
  int64_t tokens_ = 0;
  double clock_ = 0;
};

/// The nodes from the first below the root to this one.
std::vector<PrefixNode*> path_to(PrefixNode& node);

/// The name of a node in a store: a hash of all that it depends on.
const std::string& store_id(PrefixNode& node);

}  // namespace hypenet
