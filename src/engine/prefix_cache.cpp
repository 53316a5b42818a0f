// What is kept and where; how it gives way stands in prefix_eviction.cpp, what goes to a store in
// prefix_disk.cpp. Copies on the device are queued between its steps; those to and from host memory
// run beside them.
#include "engine/prefix_cache.h"

#include <algorithm>

#include "base/error.h"

namespace hypenet {
namespace {

// The tree remembers tokens of what is gone, so that it can say why a prompt was read again.
constexpr int64_t kRemembered = int64_t{1} << 20;

/// Which bytes of a host budget are for what.
CacheShares host_shares(const EngineOptions& options, const PrefixTree::Sizes& sizes) {
  return cache_shares(options.cache_host_bytes, sizes.state_bytes, sizes.page_bytes);
}

std::vector<PrefixNode*> path_of(const PrefixTree::Match& match) {
  auto path = path_to(*match.node);
  if (match.rest != nullptr) path.push_back(match.rest);
  return path;
}

}  // namespace

PrefixCache::PrefixCache(Memory& memory, const EngineOptions& options,
                         const PrefixTree::Sizes& sizes)
    : memory_(memory),
      state_(memory.state()),
      side_(memory.side()),
      tree_(sizes),
      most_pages_(memory.pages()),
      host_pages_(sizes.page_bytes, host_shares(options, sizes).pages,
                  memory.page_table().is_cuda()),
      host_snapshots_(sizes.state_bytes, host_shares(options, sizes).snapshots,
                      memory.page_table().is_cuda()),
      kept_(static_cast<size_t>(memory.pages()), 0) {
  if (options.cache_bytes >= 0 && sizes.page_bytes > 0) {
    const auto shares = cache_shares(options.cache_bytes, sizes.state_bytes, sizes.page_bytes);
    most_pages_ = std::min(most_pages_, shares.pages / sizes.page_bytes);
  }
  most_tokens_ =
      kRemembered + 2 * (memory.pages() + host_pages_.most()) * memory.state().sizes.page_tokens;
}

/// Of each page the deepest node's: it has what its parents put there, too.
std::vector<int32_t> PrefixCache::shared_pages(const std::vector<PrefixNode*>& path,
                                               int64_t count) const {
  std::vector<int32_t> pages(static_cast<size_t>(count));
  for (const PrefixNode* node : path) {
    const int64_t first = tree_.first_page(*node);
    for (int64_t i = 0; i < std::ssize(node->pages) && first + i < count; ++i) {
      pages[static_cast<size_t>(first + i)] = node->pages[static_cast<size_t>(i)];
    }
  }
  return pages;
}

void PrefixCache::place_states(const PrefixNode& node, int64_t slot) {
  if (node.snapshot_in == CacheTier::kHost) {
    part_bytes(host_snapshots_.at(node.snapshot), state_.bytes_of_slot(slot));
  } else if (tree_.sizes().state_bytes > 0) {
    state_.copy({.slot = node.snapshot}, {.slot = slot});
  }
}

std::optional<PrefixCache::Resumed> PrefixCache::lease(const PrefixTree::Match& match,
                                                       int64_t tokens) {
  const auto path = path_of(match);
  const bool has_pages = tree_.sizes().page_bytes > 0;
  const int64_t P = tree_.sizes().page_tokens, whole = has_pages ? match.position / P : 0;
  int64_t needed = memory_.pages_for(tokens) - whole;
  for (const PrefixNode* node : path) {
    needed += node->pages_in == CacheTier::kHost ? std::ssize(node->pages) : 0;
  }
  if (memory_.free_slots() == 0) return std::nullopt;
  locked_.insert(path.begin(), path.end());
  const bool has_room = make_room(needed);
  locked_.clear();
  if (!has_room) return std::nullopt;
  Resumed resumed;
  const bool is_on_host = std::ranges::any_of(path, [&](const PrefixNode* node) {
    return node->pages_in == CacheTier::kHost ||
           (node == match.node && node->snapshot_in == CacheTier::kHost);
  });
  if (match.position > 0) resumed.tier = is_on_host ? CacheTier::kHost : CacheTier::kDevice;
  for (PrefixNode* node : path) {
    if (node->pages_in == CacheTier::kHost) move_up(*node);
  }
  resumed.lease = *memory_.lease(tokens, shared_pages(path, whole));
  if (match.position == 0) return resumed;
  tree_.touch(*path.back());
  const auto bring = [&] {
    if (has_pages && match.position % P > 0) {
      const auto place = static_cast<size_t>(whole);
      state_.copy({PlaceInMemory::kNoSlot, {&path.back()->pages.back(), 1}},
                  {PlaceInMemory::kNoSlot, {&resumed.lease.pages[place], 1}});
    }
    place_states(*match.node, resumed.lease.slot);
  };
  if (is_on_host || !side_.is_done(side_.last())) {
    resumed.ticket = side_.queue(bring);
  } else {
    bring();
  }
  return resumed;
}

PrefixNode* PrefixCache::keep(PrefixNode* at, const Piece& piece, const Lease& lease) {
  PrefixNode& node = tree_.extend(*at, piece.tokens, piece.is_exact);
  node.is_marked |= piece.is_marked;
  stand_on(&node);
  --at->users;
  for (PrefixNode* place : path_to(node)) {
    if (place->pages_in == CacheTier::kDevice) continue;
    drop_pages(*place);
    hold(*place, std::span(lease.pages)
                     .subspan(static_cast<size_t>(
                                  std::min(tree_.first_page(*place), std::ssize(lease.pages))),
                              static_cast<size_t>(tree_.page_count(*place))));
  }
  take_snapshot(node, lease.slot);
  for (PrefixNode* thin : tree_.thinned(node, piece.thinning_keeps, piece.question)) {
    if (thin->snapshot_in == CacheTier::kDisk) continue;
    drop_snapshot(*thin);
    ++stats_.snapshots_thinned;
  }
  return &node;
}

void PrefixCache::leave(PrefixNode* node) {
  --node->users;
  shrink();
  tree_.forget(most_tokens_);
}

void PrefixCache::hold(PrefixNode& node, std::span<const int32_t> pages) {
  if (tree_.sizes().page_bytes == 0) return;
  node.pages.assign(pages.begin(), pages.end());
  node.pages_in = CacheTier::kDevice;
  for (const int32_t page : pages) {
    memory_.hold_page(page);
    if (kept_[static_cast<size_t>(page)]++ == 0) ++pages_kept_;
  }
}

/// From its tier; what a disk has stays there.
void PrefixCache::drop_pages(PrefixNode& node) {
  if (tree_.sizes().page_bytes == 0) return;
  for (const int32_t page : node.pages) {
    if (node.pages_in == CacheTier::kHost) {
      host_pages_.drop(page);
      continue;
    }
    if (--kept_[static_cast<size_t>(page)] == 0) --pages_kept_;
    memory_.drop_page(page);
  }
  node.pages.clear();
  node.pages_in = node.stored.bytes > 0 ? CacheTier::kDisk : CacheTier::kNone;
}

void PrefixCache::drop_snapshot(PrefixNode& node) {
  if (tree_.sizes().state_bytes > 0) {
    if (node.snapshot_in == CacheTier::kHost) host_snapshots_.drop(node.snapshot);
    if (node.snapshot_in == CacheTier::kDevice) memory_.drop_snapshot(node.snapshot);
  }
  node.snapshot_in = node.stored.has_states ? CacheTier::kDisk : CacheTier::kNone;
  node.snapshot = -1;
}

void PrefixCache::take_snapshot(PrefixNode& node, int64_t slot) {
  if (is_near(node.snapshot_in)) return;
  if (tree_.sizes().state_bytes == 0) {
    node.snapshot_in = CacheTier::kDevice;
    return;
  }
  if (const auto place = device_snapshot()) {
    state_.copy({.slot = slot}, {.slot = *place});
    node.snapshot_in = CacheTier::kDevice, node.snapshot = *place;
  } else if (const auto unit = host_snapshot(tree_.value_of_snapshot(node))) {
    // The next piece changes the slot.
    side_.join(
        side_.queue([&] { join_bytes(state_.bytes_of_slot(slot), host_snapshots_.at(*unit)); }));
    node.snapshot_in = CacheTier::kHost, node.snapshot = *unit;
  } else {
    return;
  }
  node.was_evicted = false;
  ++stats_.snapshots_taken;
}

CacheStats PrefixCache::stats() const {
  CacheStats stats = stats_;
  const auto [page, state] = std::pair(tree_.sizes().page_bytes, tree_.sizes().state_bytes);
  stats.device.page_bytes = pages_kept_ * page;
  stats.device.most_page_bytes = most_pages_ * page;
  stats.device.most_snapshot_bytes = memory_.snapshots() * state;
  stats.host.page_bytes = host_pages_.used() * page;
  stats.host.most_page_bytes = host_pages_.most() * page;
  stats.host.most_snapshot_bytes = host_snapshots_.most() * state;
  if (state > 0) {
    stats.device.snapshots = memory_.snapshots() - memory_.free_snapshots();
    stats.host.snapshots = host_snapshots_.used();
  } else {
    stats.device.snapshots =
        std::ranges::count(tree_.nodes(), CacheTier::kDevice, &PrefixNode::snapshot_in);
  }
  stats.device.snapshot_bytes = stats.device.snapshots * state;
  stats.host.snapshot_bytes = stats.host.snapshots * state;
  stats.nodes = std::ssize(tree_.nodes());
  if (!disk_) return stats;
  stats.disk.snapshots = disk_->snapshots;
  stats.disk.snapshot_bytes = disk_->snapshots * state;
  stats.disk.page_bytes = disk_->bytes - stats.disk.snapshot_bytes;
  stats.disk.most_page_bytes = disk_->most;
  return stats;
}

void PrefixCache::check() const {
  tree_.check();
  std::vector<int32_t> kept(kept_.size(), 0);
  std::set<int32_t> host_pages, host_snapshots;
  if (disk_) {
    for (const auto& [ticket, transfer] : disk_->transfers) {
      host_pages.insert(transfer.pages.begin(), transfer.pages.end());
      if (transfer.snapshot >= 0) host_snapshots.insert(transfer.snapshot);
    }
  }
  int64_t device_snapshots = 0, disk_bytes = 0, disk_snapshots = 0;
  for (const PrefixNode* node : tree_.nodes()) {
    if (node->pages_in == CacheTier::kHost) {
      host_pages.insert(node->pages.begin(), node->pages.end());
    }
    if (node->snapshot_in == CacheTier::kHost) host_snapshots.insert(node->snapshot);
    disk_bytes += node->stored.bytes, disk_snapshots += node->stored.has_states ? 1 : 0;
    device_snapshots += node->snapshot_in == CacheTier::kDevice ? 1 : 0;
    if (node->pages_in != CacheTier::kDevice) continue;
    for (const int32_t page : node->pages) ++kept[static_cast<size_t>(page)];
  }
  HYPENET_CHECK(kept == kept_, "prefix cache: pages are not held as the tree says");
  for (size_t page = 0; page < kept.size(); ++page) {
    HYPENET_CHECK(memory_.pool().holders(static_cast<int32_t>(page)) >= kept[page],
                  "prefix cache: page ", page, " is kept, and free");
  }
  HYPENET_CHECK(std::ssize(host_pages) == host_pages_.used(), "prefix cache: expected ",
                host_pages.size(), " pages on the host, found ", host_pages_.used());
  HYPENET_CHECK(!disk_ || (disk_bytes == disk_->bytes && disk_snapshots == disk_->snapshots &&
                           disk_bytes <= disk_->most),
                "prefix cache: expected ", disk_bytes, " bytes and ", disk_snapshots,
                " snapshots on the disk, found ", disk_ ? disk_->bytes : 0, " and ",
                disk_ ? disk_->snapshots : 0);
  if (tree_.sizes().state_bytes == 0) return;
  HYPENET_CHECK(std::ssize(host_snapshots) == host_snapshots_.used(), "prefix cache: expected ",
                host_snapshots.size(), " snapshots on the host, found ", host_snapshots_.used());
  const int64_t used = memory_.snapshots() - memory_.free_snapshots();
  HYPENET_CHECK(device_snapshots == used, "prefix cache: expected ", device_snapshots,
                " snapshots on the device, found ", used);
}

}  // namespace hypenet
