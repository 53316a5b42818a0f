// Kept prompts on a disk, a file a node. What gives way elsewhere is written behind; a node that
// has a file may lie in memory, too, and then gives way there at no cost.
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/sha256.h"
#include "engine/prefix_cache.h"

namespace hypenet {
namespace {

// What waits to be written takes memory: beyond this, what gives way is gone.
constexpr int64_t kMostWriting = int64_t{1} << 30;
// More than a file has beside tokens, pages and states.
constexpr int64_t kFileBytes = int64_t{5} * 4096;

}  // namespace

std::string salt_key(const std::string& salt) {
  Sha256 hash;
  hash.add(salt);
  return hash.hex();
}

void PrefixCache::use_store(std::shared_ptr<PrefixStore> store, int64_t most_bytes) {
  const auto pieces = store->list();
  disk_ = std::make_unique<Disk>(std::move(store), most_bytes);
  know(pieces);
  while (disk_->bytes > disk_->most) {
    forget_stored(*tree_.cheapest_stored([](const auto&) { return true; }));
  }
}

/// Puts each below its parent; those that have none are worth nothing.
void PrefixCache::know(const std::vector<StoredPiece>& pieces) {
  std::multimap<std::string, const StoredPiece*> by_parent;
  for (const StoredPiece& piece : pieces) by_parent.emplace(piece.parent, &piece);
  std::set<std::string> known;
  std::vector<std::pair<PrefixNode*, std::string>> open = {{nullptr, ""}};
  while (!open.empty()) {
    const auto [parent, id] = open.back();
    open.pop_back();
    const auto [begin, end] = by_parent.equal_range(id);
    for (auto child = begin; child != end; ++child) {
      const StoredPiece& piece = *child->second;
      const bool fits = !piece.tokens.empty() && !known.contains(piece.id);
      if (!fits) continue;
      PrefixNode& above = parent != nullptr ? *parent : tree_.root(piece.salt);
      PrefixNode& node = tree_.extend(above, piece.tokens, piece.is_exact);
      if (!know(node, piece)) continue;
      known.insert(piece.id);
      open.emplace_back(&node, piece.id);
    }
  }
  for (const StoredPiece& piece : pieces) {
    if (known.contains(piece.id)) continue;
    queue({.kind = DiskTier::Kind::kRemove, .piece = {.id = piece.id}}, {});
  }
  tree_.forget(most_tokens_);
}

/// Whether the node is what the piece says it is.
bool PrefixCache::know(PrefixNode& node, const StoredPiece& piece) {
  const bool is_it = store_id(node) == piece.id && node.end <= memory_.max_tokens() &&
                     piece.pages == tree_.page_count(node) && piece.bytes > 0;
  if (!is_it) return false;
  node.is_marked = piece.is_marked;
  tree_.set_worth(node, piece.uses, piece.age);
  set_stored(node, piece.bytes, piece.has_states);
  if (tree_.sizes().page_bytes > 0) node.pages_in = CacheTier::kDisk;
  if (piece.has_states) node.snapshot_in = CacheTier::kDisk;
  return true;
}

void PrefixCache::set_stored(PrefixNode& node, int64_t bytes, bool has_states) {
  disk_->bytes += bytes - node.stored.bytes;
  disk_->snapshots += (has_states ? 1 : 0) - (node.stored.has_states ? 1 : 0);
  node.stored.bytes = bytes, node.stored.has_states = has_states;
}

/// Whether a file has all that memory has of it.
bool PrefixCache::is_stored(const PrefixNode& node) const {
  return node.stored.bytes > 0 && (node.stored.has_states || !is_near(node.snapshot_in));
}

/// The file goes, and what lay there alone.
void PrefixCache::forget_stored(PrefixNode& node) {
  if (node.stored.bytes == 0) return;
  queue({.kind = DiskTier::Kind::kRemove, .piece = {.id = store_id(node)}}, {});
  set_stored(node, 0, false);
  node.stored.reading = node.stored.writing = 0;
  const bool lay_there = node.pages_in == CacheTier::kDisk || node.snapshot_in == CacheTier::kDisk;
  if (node.snapshot_in == CacheTier::kDisk) {
    node.snapshot_in = CacheTier::kNone;
    ++stats_.disk_snapshots_evicted;
  }
  if (node.pages_in == CacheTier::kDisk) node.pages_in = CacheTier::kNone;
  node.was_evicted |= lay_there;
}

/// A file that cannot be read or was not written.
void PrefixCache::lose(PrefixNode& node) {
  forget_stored(node);
  if (tree_.sizes().page_bytes == 0 || node.pages_in != CacheTier::kNone) return;
  for (const auto& child : node.children) drop_branch(*child, false);
}

bool PrefixCache::has_disk_room(PrefixNode& node, int64_t bytes) {
  if (bytes > disk_->most) return false;
  const auto path = path_to(node);
  const std::set<const PrefixNode*> stays(path.begin(), path.end());
  const double value = tree_.worth(node);
  while (disk_->bytes - node.stored.bytes + bytes > disk_->most) {
    PrefixNode* leaf = tree_.cheapest_stored([&](const PrefixNode& other) {
      return !stays.contains(&other) && !locked_.contains(&other) && other.stored.reading == 0;
    });
    if (leaf == nullptr || tree_.worth(*leaf) >= value) return false;
    forget_stored(*leaf);
  }
  return true;
}

StoredPiece PrefixCache::piece_of(PrefixNode& node, bool with_states) const {
  StoredPiece piece{.id = store_id(node)};
  const PrefixNode* top = &node;
  while (top->parent != nullptr) top = top->parent;
  if (node.parent != top) piece.parent = node.parent->stored.id;
  piece.salt = top->stored.id;
  piece.tokens = node.tokens;
  piece.is_exact = node.is_exact, piece.is_marked = node.is_marked;
  piece.has_states = with_states;
  piece.pages = tree_.page_count(node);
  piece.uses = node.uses, piece.age = node.age;
  return piece;
}

/// Queues what memory has of a node for the store. False where it has nothing, or there is no room
/// for it on the disk or, while others are written, in memory.
bool PrefixCache::store(PrefixNode& node) {
  if (!disk_) return false;
  if (is_stored(node)) return true;
  const bool has_states = is_near(node.snapshot_in);
  const int64_t pages = tree_.page_count(node);
  if (pages > 0 && !is_near(node.pages_in)) return false;
  const int64_t bytes = kFileBytes + std::ssize(node.tokens) * int64_t{sizeof(int32_t)} +
                        pages * tree_.sizes().page_bytes +
                        (has_states ? tree_.sizes().state_bytes : 0);
  if (disk_->writing > 0 && disk_->writing + bytes > kMostWriting) return false;
  if (!has_disk_room(node, bytes)) return false;
  Transfer transfer{.node = &node, .bytes = bytes};
  DiskTier::Job job{.kind = DiskTier::Kind::kWrite, .piece = piece_of(node, has_states)};
  gather_pages(node, transfer, job);
  if (has_states) gather_states(node, transfer, job);
  set_stored(node, bytes, has_states);
  disk_->writing += bytes;
  node.stored.writing = queue(std::move(job), std::move(transfer));
  return true;
}

/// Pages on the host are held until they are written; those of the device are copied first.
void PrefixCache::gather_pages(const PrefixNode& node, Transfer& transfer, DiskTier::Job& job) {
  const bool is_on_host = node.pages_in == CacheTier::kHost;
  for (const int32_t page : node.pages) {
    if (is_on_host) host_pages_.hold(page);
    const auto unit = is_on_host ? std::optional(page) : host_pages_.take();
    if (unit) transfer.pages.push_back(*unit);
    job.pages.push_back(unit ? host_pages_.at(*unit)
                             : torch::empty({tree_.sizes().page_bytes}, torch::kUInt8));
  }
  if (is_on_host) return;
  side_.queue([&] {
    for (size_t i = 0; i < node.pages.size(); ++i) {
      join_bytes(state_.bytes_of_page(node.pages[i]), job.pages[i]);
    }
  });
}

void PrefixCache::gather_states(const PrefixNode& node, Transfer& transfer, DiskTier::Job& job) {
  if (tree_.sizes().state_bytes == 0) return;
  const bool is_on_host = node.snapshot_in == CacheTier::kHost;
  if (is_on_host) host_snapshots_.hold(node.snapshot);
  const auto unit = is_on_host ? std::optional(node.snapshot) : host_snapshots_.take();
  transfer.snapshot = unit.value_or(-1);
  job.states =
      unit ? host_snapshots_.at(*unit) : torch::empty({tree_.sizes().state_bytes}, torch::kUInt8);
  if (is_on_host) return;
  side_.queue([&] { join_bytes(state_.bytes_of_slot(node.snapshot), job.states); });
}

/// A job for the disk's thread, behind all side copies so far; its ticket.
int64_t PrefixCache::queue(DiskTier::Job job, Transfer transfer) {
  job.ticket = ++disk_->tickets;
  if (transfer.node != nullptr) {
    stand_on(transfer.node);
    disk_->transfers.emplace(job.ticket, std::move(transfer));
  }
  disk_->waiting.emplace_back(side_.last(), std::move(job));
  hand_over();
  return disk_->tickets;
}

void PrefixCache::hand_over() {
  while (!disk_->waiting.empty() && side_.is_done(disk_->waiting.front().first)) {
    disk_->tier.add(std::move(disk_->waiting.front().second));
    disk_->waiting.pop_front();
  }
}

void PrefixCache::take_from_disk() {
  if (!disk_) return;
  hand_over();
  for (DiskTier::Job& job : disk_->tier.take_done()) take(std::move(job));
  write_ahead();
}

/// Until what is written takes at most so many bytes; 0: until nothing is under way.
void PrefixCache::wait_for_transfers(int64_t most_bytes) {
  const auto is_over = [&] {
    return most_bytes > 0 ? disk_->writing <= most_bytes : disk_->transfers.empty();
  };
  while (!is_over()) {
    side_.wait();
    hand_over();
    disk_->tier.wait_for_one(std::chrono::seconds(1));
    for (DiskTier::Job& job : disk_->tier.take_done()) take(std::move(job));
  }
}

void PrefixCache::take(DiskTier::Job job) {
  const auto place = disk_->transfers.find(job.ticket);
  if (place == disk_->transfers.end()) return;  // a removal
  Transfer transfer = std::move(place->second);
  disk_->transfers.erase(place);
  PrefixNode& node = *transfer.node;
  if (job.kind == DiskTier::Kind::kRead) {
    take_read(transfer, job);
  } else {
    disk_->writing -= transfer.bytes;
    if (node.stored.writing == job.ticket) {
      node.stored.writing = 0;
      if (!job.failure.empty()) {
        lose(node);
      } else {
        set_stored(node, std::min(job.bytes, transfer.bytes), node.stored.has_states);
      }
    }
  }
  for (const int32_t unit : transfer.pages) host_pages_.drop(unit);
  if (transfer.snapshot >= 0) host_snapshots_.drop(transfer.snapshot);
  step_off(&node);
}

void PrefixCache::take_read(Transfer& transfer, DiskTier::Job& job) {
  PrefixNode& node = *transfer.node;
  if (node.stored.reading != job.ticket) return;  // its file went meanwhile
  node.stored.reading = 0;
  if (!job.failure.empty()) return lose(node);
  const auto path = path_to(node);
  locked_.insert(path.begin(), path.end());
  put(transfer, job);
  locked_.clear();
}

/// What was read becomes the node's, where its parent's pages are in memory, and there is room.
void PrefixCache::put(Transfer& transfer, DiskTier::Job& job) {
  PrefixNode& node = *transfer.node;
  const bool has_base = node.parent->parent == nullptr || is_near(node.parent->pages_in);
  if (!job.pages.empty() && node.pages_in == CacheTier::kDisk) {
    if (!has_base) return;
    if (transfer.pages.size() == job.pages.size()) {
      node.pages = std::exchange(transfer.pages, {});
      node.pages_in = CacheTier::kHost;
    } else if (!bring_pages_in(node, job.pages)) {
      return;
    }
  }
  const bool may_have_states = tree_.sizes().page_bytes == 0 || is_near(node.pages_in);
  if (node.snapshot_in != CacheTier::kDisk || !may_have_states) return;
  if (tree_.sizes().state_bytes == 0) node.snapshot_in = CacheTier::kDevice;
  if (!job.states.defined()) return;
  if (transfer.snapshot >= 0) {
    node.snapshot = std::exchange(transfer.snapshot, -1);
    node.snapshot_in = CacheTier::kHost;
  } else {
    fill_snapshot(node, job.states);
  }
}

bool PrefixCache::bring_near(const PrefixTree::Match& match) {
  auto path = path_to(*match.node);
  if (match.rest != nullptr) path.push_back(match.rest);
  const bool has_place =
      tree_.sizes().state_bytes == 0 || host_snapshots_.most() > 0 || memory_.snapshots() > 0;
  if (!has_place) return false;
  bool is_coming = false;
  locked_.insert(path.begin(), path.end());
  for (PrefixNode* node : path) {
    const bool wants_pages = node->pages_in == CacheTier::kDisk;
    const bool wants_states = node == match.node && node->snapshot_in == CacheTier::kDisk;
    is_coming |= wants_pages || wants_states;
    if ((wants_pages || wants_states) && node->stored.reading == 0) {
      fetch(*node, wants_pages, wants_states && tree_.sizes().state_bytes > 0);
    }
  }
  locked_.clear();
  return is_coming;
}

/// Queues a read, into host memory that is the node's then, or that is copied to the device.
void PrefixCache::fetch(PrefixNode& node, bool with_pages, bool with_states) {
  Transfer transfer{.node = &node};
  DiskTier::Job job{.kind = DiskTier::Kind::kRead, .piece = {.id = store_id(node)}};
  const int64_t count = with_pages ? tree_.page_count(node) : 0;
  const bool to_host = host_pages_.most() >= count && has_host_room(HUGE_VAL, count);
  for (int64_t i = 0; i < count; ++i) {
    if (to_host) transfer.pages.push_back(*host_pages_.take());
    job.pages.push_back(to_host ? host_pages_.at(transfer.pages.back())
                                : torch::empty({tree_.sizes().page_bytes}, torch::kUInt8));
  }
  if (with_states) {
    const auto unit = host_snapshot(HUGE_VAL);
    transfer.snapshot = unit.value_or(-1);
    job.states =
        unit ? host_snapshots_.at(*unit) : torch::empty({tree_.sizes().state_bytes}, torch::kUInt8);
  }
  node.stored.reading = queue(std::move(job), std::move(transfer));
}

bool PrefixCache::is_coming(PrefixNode& node) const {
  return std::ranges::any_of(path_to(node),
                             [](const PrefixNode* place) { return place->stored.reading != 0; });
}

double PrefixCache::seconds_to_bring(const PrefixTree::Match& match) const {
  auto path = path_to(*match.node);
  if (match.rest != nullptr) path.push_back(match.rest);
  double bytes = 0;
  for (const PrefixNode* node : path) {
    const bool is_there = node->pages_in == CacheTier::kDisk ||
                          (node == match.node && node->snapshot_in == CacheTier::kDisk);
    bytes += is_there ? static_cast<double>(node->stored.bytes) : 0;
  }
  return bytes / disk_->tier.read_rate();
}

/// Of what the host is next to give up, a quarter of its memory is on the disk before.
void PrefixCache::write_ahead() {
  if (disk_->writing > 0) return;
  int64_t ready_pages = host_pages_.free(), ready_snapshots = host_snapshots_.free();
  const auto is_enough = [&] {
    return 4 * ready_pages >= host_pages_.most() && 4 * ready_snapshots >= host_snapshots_.most();
  };
  if (is_enough()) return;
  PrefixNode* next = nullptr;
  double least = 0;
  for (PrefixNode* node : tree_.nodes()) {
    const bool has_pages = node->pages_in == CacheTier::kHost;
    const bool has_snapshot = node->snapshot_in == CacheTier::kHost;
    if (!has_pages && !has_snapshot) continue;
    if (is_stored(*node)) {
      ready_pages += has_pages ? std::ssize(node->pages) : 0;
      ready_snapshots += has_snapshot ? 1 : 0;
      continue;
    }
    const double value = has_pages ? tree_.value_of_leaf(*node) : tree_.value_of_snapshot(*node);
    if (next != nullptr && value >= least) continue;
    next = node, least = value;
  }
  if (next != nullptr && !is_enough()) store(*next);
}

/// Parents first: a file without its parent's is worth nothing.
void PrefixCache::store_all() {
  if (!disk_) return;
  auto nodes = tree_.nodes();
  std::ranges::sort(nodes, {}, &PrefixNode::begin);
  std::set<const PrefixNode*> needed;
  for (auto node = nodes.rbegin(); node != nodes.rend(); ++node) {
    if (!needed.contains(*node) && !tree_.can_go_on_from(**node)) continue;
    needed.insert(*node), needed.insert((*node)->parent);
  }
  for (PrefixNode* node : nodes) {
    const bool has_base = node->parent->parent == nullptr || node->parent->stored.bytes > 0;
    if (!needed.contains(node) || !has_base) continue;
    wait_for_transfers(kMostWriting / 4);
    store(*node);
  }
  wait_for_transfers(0);
  disk_->tier.wait_for_all();
}

std::vector<StoredPrompt> PrefixCache::stored_prompts() const {
  std::vector<StoredPrompt> prompts;
  for (PrefixNode* node : tree_.nodes()) {
    const bool is_leaf =
        node->stored.bytes > 0 && std::ranges::none_of(node->children, [](const auto& child) {
          return child->stored.bytes > 0;
        });
    if (!is_leaf) continue;
    StoredPrompt prompt;
    for (const PrefixNode* place : path_to(*node)) {
      prompt.salt = place->parent->parent == nullptr ? place->parent->stored.id : prompt.salt;
      prompt.tokens.insert(prompt.tokens.end(), place->tokens.begin(), place->tokens.end());
    }
    prompts.push_back(std::move(prompt));
  }
  return prompts;
}

}  // namespace hypenet
