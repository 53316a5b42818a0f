// How kept prompts give way: leaves before what they stand on, the least valued first, down a tier
// before out. A page is kept only with those before it, a snapshot only with its pages.
#include <algorithm>

#include "engine/prefix_cache.h"

namespace hypenet {

bool PrefixCache::is_in_use(int32_t page) const {
  return memory_.pool().holders(page) > kept_[static_cast<size_t>(page)];
}

int64_t PrefixCache::pages_kept_alone() const {
  int64_t count = 0;
  for (int32_t page = 0; page < std::ssize(kept_); ++page) {
    count += kept_[static_cast<size_t>(page)] > 0 && !is_in_use(page) ? 1 : 0;
  }
  std::set<int32_t> stays;
  for (const PrefixNode* node : locked_) {
    if (node->pages_in != CacheTier::kDevice) continue;
    std::ranges::copy_if(node->pages, std::inserter(stays, stays.end()),
                         [&](int32_t page) { return !is_in_use(page); });
  }
  return count - std::ssize(stays);
}

bool PrefixCache::make_room(int64_t pages) {
  if (memory_.free_pages() >= pages) return true;
  if (memory_.free_pages() + pages_kept_alone() < pages) return false;
  while (memory_.free_pages() < pages) {
    if (!give_way()) return false;
  }
  return true;
}

/// One node's pages leave the device.
bool PrefixCache::give_way() {
  const auto may_go = [&](const PrefixNode& node) {
    return !locked_.contains(&node) &&
           std::ranges::any_of(node.pages, [&](int32_t page) { return !is_in_use(page); });
  };
  if (PrefixNode* leaf = tree_.cheapest_leaf(CacheTier::kDevice, may_go)) {
    tree_.age_to(tree_.value_of_leaf(*leaf));
    if (!move_down(*leaf)) drop_branch(*leaf, true);
    return true;
  }
  // What is left stands below pages that a sequence uses.
  const auto& nodes = tree_.nodes();
  const auto inner = std::ranges::find_if(nodes, [&](const PrefixNode* node) {
    return node->pages_in == CacheTier::kDevice && may_go(*node);
  });
  if (inner == nodes.end()) return false;
  drop_branch(**inner, true);
  return true;
}

/// A node's pages and snapshot, from memory; a disk may have them.
void PrefixCache::let_go(PrefixNode& node) {
  if (node.snapshot_in == CacheTier::kDevice) ++stats_.device_snapshots_evicted;
  if (node.snapshot_in == CacheTier::kHost) ++stats_.host_snapshots_evicted;
  const bool had_pages = is_near(node.pages_in), had_snapshot = is_near(node.snapshot_in);
  drop_snapshot(node);
  drop_pages(node);
  node.was_evicted |= (had_pages && node.pages_in == CacheTier::kNone) ||
                      (had_snapshot && node.snapshot_in == CacheTier::kNone);
}

/// A node and what is kept behind it, to the disk where it may write and there is room, else out.
void PrefixCache::drop_branch(PrefixNode& node, bool writes) {
  std::vector<PrefixNode*> open = {&node};
  while (!open.empty()) {
    PrefixNode& place = *open.back();
    open.pop_back();
    for (const auto& child : place.children) open.push_back(child.get());
    const PrefixNode& parent = *place.parent;
    const bool is_lost = tree_.sizes().page_bytes > 0 && parent.parent != nullptr &&
                         parent.pages_in == CacheTier::kNone;
    if (is_lost) {
      forget_stored(place);
    } else if (writes) {
      store(place);
    }
    let_go(place);
  }
}

/// Whether pages on the host of less than this value can make room for so many.
bool PrefixCache::has_host_room(double value, int64_t pages) {
  while (host_pages_.free() < pages) {
    PrefixNode* leaf = tree_.cheapest_leaf(CacheTier::kHost, [&](const auto& other) {
      return !locked_.contains(&other) && other.stored.writing == 0;
    });
    if (leaf == nullptr || tree_.value_of_leaf(*leaf) >= value) return false;
    drop_branch(*leaf, false);  // its memory is needed now: write_ahead has written it, or nobody
  }
  return true;
}

/// A node's pages from the device to the host; what is not worth its place there goes.
bool PrefixCache::move_down(PrefixNode& node) {
  const bool leads_on = std::ranges::any_of(
      node.children, [](const auto& child) { return child->pages_in != CacheTier::kNone; });
  if (node.snapshot_in == CacheTier::kNone && !leads_on) return false;
  const int64_t count = std::ssize(node.pages);
  if (host_pages_.most() < count || !has_host_room(tree_.value_of_leaf(node), count)) return false;
  std::vector<int32_t> units;
  for (int64_t i = 0; i < count; ++i) units.push_back(*host_pages_.take());
  side_.queue([&] {
    for (size_t i = 0; i < units.size(); ++i) {
      join_bytes(state_.bytes_of_page(node.pages[i]), host_pages_.at(units[i]));
    }
  });
  drop_pages(node);
  node.pages = std::move(units), node.pages_in = CacheTier::kHost;
  return true;
}

/// A node's pages from the host to the device, where there must be room.
void PrefixCache::move_up(PrefixNode& node) {
  std::vector<int32_t> pages;
  for (size_t i = 0; i < node.pages.size(); ++i) pages.push_back(*memory_.take_page());
  side_.queue([&] {
    for (size_t i = 0; i < pages.size(); ++i) {
      part_bytes(host_pages_.at(node.pages[i]), state_.bytes_of_page(pages[i]));
    }
  });
  drop_pages(node);
  hold(node, pages);
  for (const int32_t page : pages) memory_.drop_page(page);  // the node's hold stays
}

std::optional<int32_t> PrefixCache::device_snapshot() {
  if (memory_.snapshots() == 0) return std::nullopt;
  if (memory_.free_snapshots() == 0) {
    PrefixNode* node =
        tree_.cheapest_snapshot(CacheTier::kDevice, [](const auto&) { return true; });
    tree_.age_to(tree_.value_of_snapshot(*node));
    ++stats_.device_snapshots_evicted;
    if (!move_snapshot_down(*node)) {
      store(*node);
      drop_snapshot(*node);
      node->was_evicted |= node->snapshot_in == CacheTier::kNone;
    }
  }
  return memory_.take_snapshot();
}

std::optional<int32_t> PrefixCache::host_snapshot(double value) {
  if (host_snapshots_.most() == 0) return std::nullopt;
  if (host_snapshots_.free() == 0) {
    PrefixNode* node = tree_.cheapest_snapshot(CacheTier::kHost, [&](const auto& other) {
      return !locked_.contains(&other) && other.stored.writing == 0;
    });
    if (node == nullptr || tree_.value_of_snapshot(*node) >= value) return std::nullopt;
    drop_snapshot(*node);
    node->was_evicted |= node->snapshot_in == CacheTier::kNone;
    ++stats_.host_snapshots_evicted;
  }
  return host_snapshots_.take();
}

bool PrefixCache::move_snapshot_down(PrefixNode& node) {
  const auto unit = host_snapshot(tree_.value_of_snapshot(node));
  if (!unit) return false;
  side_.queue([&] { join_bytes(state_.bytes_of_slot(node.snapshot), host_snapshots_.at(*unit)); });
  drop_snapshot(node);
  node.snapshot_in = CacheTier::kHost, node.snapshot = *unit;
  return true;
}

/// Down to the pages that kept prompts may hold alone.
void PrefixCache::shrink() {
  while (pages_kept_alone() > most_pages_) {
    if (!give_way()) return;
  }
}

void PrefixCache::clear() {
  for (PrefixNode* node : tree_.nodes()) {
    forget_stored(*node);
    drop_snapshot(*node);
    drop_pages(*node);
    node->was_evicted = false;
  }
  if (disk_) wait_for_transfers(0);
  tree_.forget(0);
}

}  // namespace hypenet
