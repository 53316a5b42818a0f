// Greedy-dual eviction: what is used gets the clock's age again, and the clock goes on with what is
// evicted, so that uses of long ago fade.
#include "engine/prefix_tree.h"

#include <algorithm>

#include "base/error.h"
#include "base/fnv1a.h"
#include "base/sha256.h"

namespace hypenet {
namespace {

// A token so deep costs twice as much to read as the first one (attention over what is before).
constexpr double kDepthOfDoubleCost = 65536;
constexpr size_t kLastKept = 4, kKeptBeforeQuestion = 2;

uint64_t hash_of(std::span<const int32_t> tokens) {
  Fnv1a hash;
  for (const int32_t token : tokens) hash.add(static_cast<uint32_t>(token));
  return hash.value();
}

int64_t common_length(std::span<const int32_t> a, std::span<const int32_t> b) {
  return std::ranges::mismatch(a, b).in1 - a.begin();
}

PrefixNode* child_of(const PrefixNode& parent, std::span<const int32_t> tokens, bool is_exact) {
  const uint64_t hash = hash_of(tokens);
  for (const auto& child : parent.children) {
    if (child->hash == hash && child->is_exact == is_exact &&
        std::ranges::equal(child->tokens, tokens)) {
      return child.get();
    }
  }
  return nullptr;
}

/// Where the nearest snapshot before the node's lies.
int64_t snapshot_before(const PrefixNode& node) {
  const PrefixNode* place = node.parent;
  while (place != nullptr && place->snapshot_in == CacheTier::kNone) place = place->parent;
  return place == nullptr ? 0 : place->end;
}

double tokens_saved(const PrefixNode& node) {
  const auto saved = static_cast<double>(node.end - snapshot_before(node));
  return saved * (1 + static_cast<double>(node.end) / kDepthOfDoubleCost);
}

}  // namespace

std::vector<PrefixNode*> path_to(PrefixNode& node) {
  std::vector<PrefixNode*> path;
  for (PrefixNode* place = &node; place->parent != nullptr; place = place->parent) {
    path.push_back(place);
  }
  std::ranges::reverse(path);
  return path;
}

const std::string& store_id(PrefixNode& node) {
  for (PrefixNode* place : path_to(node)) {
    if (!place->stored.id.empty()) continue;
    Sha256 hash;
    hash.add(place->parent->stored.id);
    hash.add(place->is_exact ? "=" : "~");
    hash.add(std::as_bytes(std::span(place->tokens)));
    place->stored.id = hash.hex();
  }
  return node.stored.id;
}

PrefixNode& PrefixTree::root(const std::string& salt) {
  auto& root = roots_[salt];
  if (!root) root = std::make_unique<PrefixNode>(PrefixNode{.stored = {.id = salt}});
  return *root;
}

bool PrefixTree::can_go_on_from(const PrefixNode& node) const {
  return node.snapshot_in != CacheTier::kNone &&
         (sizes_.page_bytes == 0 || node.pages_in != CacheTier::kNone);
}

bool PrefixTree::can_go_on_from(const PrefixNode& node, const Prompt& prompt) const {
  const bool is_near = node.snapshot_in != CacheTier::kDisk && node.pages_in != CacheTier::kDisk;
  return can_go_on_from(node) && (is_near || prompt.sees_disk);
}

int64_t PrefixTree::page_count(const PrefixNode& node) const {
  if (sizes_.page_bytes == 0) return 0;
  return (node.end + sizes_.page_tokens - 1) / sizes_.page_tokens - first_page(node);
}

PrefixTree::Match PrefixTree::find(const std::string& salt, const Prompt& prompt) {
  PrefixNode& start = root(salt);
  Match match{.node = &start, .known = &start};
  walk_all(start, prompt, match);
  if (prompt.mode == ReuseMode::kExact) {
    match.node = match.known = &start;
    match.rest = nullptr, match.position = 0;
    walk_cuts(start, prompt, match);
  }
  if (match.position == 0) match.miss = why_missed(salt, prompt, match);
  return match;
}

void PrefixTree::walk_cuts(PrefixNode& root, const Prompt& prompt, Match& match) const {
  PrefixNode* place = &root;
  for (const int64_t cut : prompt.cuts) {
    if (cut > prompt.limit) return;
    const auto piece = prompt.tokens.subspan(static_cast<size_t>(place->end),
                                             static_cast<size_t>(cut - place->end));
    place = child_of(*place, piece, true);
    if (place == nullptr) return;
    match.known = place;
    if (!can_go_on_from(*place, prompt)) continue;
    match.node = place, match.position = place->end;
  }
}

/// Every child whose tokens go on like the prompt; several may, of other lengths.
void PrefixTree::walk_all(PrefixNode& root, const Prompt& prompt, Match& match) const {
  std::vector<PrefixNode*> open = {&root};
  while (!open.empty()) {
    PrefixNode& place = *open.back();
    open.pop_back();
    for (const auto& child : place.children) {
      const auto after = prompt.tokens.subspan(static_cast<size_t>(place.end));
      const int64_t alike = common_length(child->tokens, after);
      match.alike = std::max(match.alike, place.end + alike);
      take_rest(*child, alike, prompt, match);
      if (child->end != place.end + alike) continue;
      open.push_back(child.get());
      if (child->end > prompt.limit) continue;
      if (child->end > match.known->end) match.known = child.get();
      if (!can_go_on_from(*child, prompt) || child->end < match.position) continue;
      match.node = child.get(), match.rest = nullptr, match.position = child->end;
    }
  }
}

/// Without states any whole page will do.
void PrefixTree::take_rest(PrefixNode& child, int64_t alike, const Prompt& prompt,
                           Match& match) const {
  if (sizes_.state_bytes > 0 || child.pages_in == CacheTier::kNone) return;
  if (child.pages_in == CacheTier::kDisk && !prompt.sees_disk) return;
  const int64_t position =
      std::min(child.begin + alike, prompt.limit) / sizes_.page_tokens * sizes_.page_tokens;
  if (position <= child.begin || position <= match.position) return;
  match.node = child.parent, match.rest = &child, match.position = position;
}

/// Where it is the salt, match.alike is what another salt's prompts have in common with this one.
ReuseMiss PrefixTree::why_missed(const std::string& salt, const Prompt& prompt, Match& match) {
  for (const PrefixNode* node = match.known; node->parent != nullptr; node = node->parent) {
    if (node->was_evicted) return ReuseMiss::kEvicted;
  }
  if (match.known->parent != nullptr) return ReuseMiss::kNoSnapshot;
  if (match.alike > 0) return ReuseMiss::kShort;
  const bool has_other = std::ranges::any_of(roots_, [&](const auto& other) {
    if (other.first == salt) return false;
    Match there{.node = other.second.get(), .known = other.second.get()};
    walk_all(*other.second, prompt, there);
    if (there.position > 0) match.alike = there.alike;
    return there.position > 0;
  });
  return has_other ? ReuseMiss::kSalt : ReuseMiss::kNone;
}

PrefixNode& PrefixTree::extend(PrefixNode& parent, std::span<const int32_t> tokens, bool is_exact) {
  is_exact &= parent.is_exact;
  if (PrefixNode* known = child_of(parent, tokens, is_exact)) return *known;
  parent.children.push_back(std::make_unique<PrefixNode>());
  PrefixNode& child = *parent.children.back();
  child.parent = &parent;
  child.begin = parent.end, child.end = parent.end + std::ssize(tokens);
  child.tokens.assign(tokens.begin(), tokens.end());
  child.hash = hash_of(tokens);
  child.is_exact = is_exact;
  child.age = clock_;
  child.place = nodes_.size();
  nodes_.push_back(&child);
  tokens_ += std::ssize(tokens);
  return child;
}

void PrefixTree::touch(PrefixNode& node) {
  ++node.uses;
  for (PrefixNode* place = &node; place != nullptr; place = place->parent) place->age = clock_;
}

double PrefixTree::value_of_snapshot(const PrefixNode& node) const {
  const auto bytes = static_cast<double>(std::max<int64_t>(sizes_.state_bytes, 1));
  return node.age + static_cast<double>(node.uses) * tokens_saved(node) / bytes;
}

double PrefixTree::value_of_leaf(const PrefixNode& node) const {
  const bool leads_on = std::ranges::any_of(
      node.children, [](const auto& child) { return child->pages_in != CacheTier::kNone; });
  if (node.snapshot_in == CacheTier::kNone && !leads_on) return node.age;
  const int64_t bytes = page_count(node) * sizes_.page_bytes + sizes_.state_bytes;
  return node.age + static_cast<double>(node.uses) * tokens_saved(node) /
                        static_cast<double>(std::max<int64_t>(bytes, 1));
}

PrefixNode* PrefixTree::cheapest_leaf(CacheTier tier, const MayGo& may_go) {
  PrefixNode* cheapest = nullptr;
  double least = 0;
  for (PrefixNode* node : nodes_) {
    if (node->pages_in != tier) continue;
    const bool is_leaf = std::ranges::none_of(
        node->children, [&](const auto& child) { return child->pages_in == tier; });
    if (!is_leaf || !may_go(*node)) continue;
    const double value = value_of_leaf(*node);
    if (cheapest != nullptr && value >= least) continue;
    cheapest = node, least = value;
  }
  return cheapest;
}

PrefixNode* PrefixTree::cheapest_snapshot(CacheTier tier, const MayGo& may_go) {
  PrefixNode* cheapest = nullptr;
  double least = 0;
  for (PrefixNode* node : nodes_) {
    if (node->snapshot_in != tier || !may_go(*node)) continue;
    const double value = value_of_snapshot(*node);
    if (cheapest != nullptr && value >= least) continue;
    cheapest = node, least = value;
  }
  return cheapest;
}

double PrefixTree::worth(const PrefixNode& node) const {
  double most = 0;
  std::vector<const PrefixNode*> open = {&node};
  while (!open.empty()) {
    const PrefixNode& place = *open.back();
    open.pop_back();
    most = std::max(most, value_of_leaf(place));
    for (const auto& child : place.children) open.push_back(child.get());
  }
  return most;
}

PrefixNode* PrefixTree::cheapest_stored(const MayGo& may_go) {
  PrefixNode* cheapest = nullptr;
  double least = 0;
  for (PrefixNode* node : nodes_) {
    if (node->stored.bytes == 0) continue;
    const bool is_leaf = std::ranges::none_of(
        node->children, [](const auto& child) { return child->stored.bytes > 0; });
    if (!is_leaf || !may_go(*node)) continue;
    const double value = worth(*node);
    if (cheapest != nullptr && value >= least) continue;
    cheapest = node, least = value;
  }
  return cheapest;
}

std::vector<PrefixNode*> PrefixTree::thinned(PrefixNode& leaf, const PrefixNode* kept,
                                             int64_t question) {
  std::vector<PrefixNode*> snapshots;  // the deepest first
  for (PrefixNode* node = &leaf; node->parent != nullptr; node = node->parent) {
    if (node->snapshot_in != CacheTier::kNone) snapshots.push_back(node);
  }
  std::vector<PrefixNode*> gone;
  size_t before_question = 0;
  int64_t deeper = leaf.end;  // the last one that stays
  for (size_t i = 0; i < snapshots.size(); ++i) {
    PrefixNode* node = snapshots[i];
    const bool is_before = node->end <= question && before_question++ < kKeptBeforeQuestion;
    const int64_t front = i + 1 < snapshots.size() ? snapshots[i + 1]->end : 0;
    const bool stays = i < kLastKept || is_before || node->is_marked || node == kept ||
                       node->children.size() > 1 || deeper - front > leaf.end - deeper;
    if (stays) {
      deeper = node->end;
    } else {
      gone.push_back(node);
    }
  }
  return gone;
}

bool PrefixTree::is_empty(const PrefixNode& node) const {
  return node.pages_in == CacheTier::kNone && node.snapshot_in == CacheTier::kNone &&
         node.stored.bytes == 0 && node.users == 0 && node.children.empty();
}

void PrefixTree::remove(PrefixNode& node) {
  tokens_ -= std::ssize(node.tokens);
  nodes_.back()->place = node.place;
  std::swap(nodes_[node.place], nodes_.back());
  nodes_.pop_back();
  std::erase_if(node.parent->children, [&](const auto& child) { return child.get() == &node; });
}

void PrefixTree::forget(int64_t most_tokens) {
  while (tokens_ > most_tokens) {
    std::vector<PrefixNode*> empty;
    std::ranges::copy_if(nodes_, std::back_inserter(empty),
                         [&](const PrefixNode* node) { return is_empty(*node); });
    if (empty.empty()) return;
    std::ranges::sort(empty, {}, &PrefixNode::age);
    for (PrefixNode* node : empty) {
      if (tokens_ <= most_tokens) break;
      remove(*node);
    }
  }
  std::erase_if(roots_, [](const auto& root) {
    return root.second->children.empty() && root.second->users == 0;
  });
}

void PrefixTree::check() const {
  int64_t tokens = 0;
  for (size_t i = 0; i < nodes_.size(); ++i) {
    const PrefixNode& node = *nodes_[i];
    tokens += std::ssize(node.tokens);
    HYPENET_CHECK(node.place == i && node.begin == node.parent->end && node.end > node.begin &&
                      node.end - node.begin == std::ssize(node.tokens),
                  "prefix tree: node ", i, ": its place is wrong");
    HYPENET_CHECK(child_of(*node.parent, node.tokens, node.is_exact) == &node, "prefix tree: node ",
                  i, ": there are two of it");
    const bool has_pages = node.pages_in != CacheTier::kNone;
    const bool has_handles = has_pages && node.pages_in != CacheTier::kDisk;
    HYPENET_CHECK(std::ssize(node.pages) == (has_handles ? page_count(node) : 0),
                  "prefix tree: node ", i, ": expected ", page_count(node), " pages, found ",
                  node.pages.size());
    const PrefixNode& parent = *node.parent;
    HYPENET_CHECK(!has_pages || parent.parent == nullptr ||
                      (parent.pages_in != CacheTier::kNone && parent.pages_in <= node.pages_in),
                  "prefix tree: node ", i, ": its pages lie nearer than its parent's");
    HYPENET_CHECK((node.pages_in != CacheTier::kDisk || node.stored.bytes > 0) &&
                      (node.snapshot_in != CacheTier::kDisk || node.stored.has_states),
                  "prefix tree: node ", i, ": it lies on a disk that does not have it");
    HYPENET_CHECK(node.pages_in != CacheTier::kDisk || node.snapshot_in == CacheTier::kNone ||
                      node.snapshot_in == CacheTier::kDisk,
                  "prefix tree: node ", i, ": its snapshot lies nearer than its pages");
    HYPENET_CHECK(node.snapshot_in == CacheTier::kNone || can_go_on_from(node),
                  "prefix tree: node ", i, ": a snapshot without pages");
  }
  HYPENET_CHECK(tokens == tokens_, "prefix tree: expected ", tokens_, " tokens, found ", tokens);
}

}  // namespace hypenet
