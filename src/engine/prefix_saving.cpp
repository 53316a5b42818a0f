// Kept prompts leave the engine as bytes, and come back.
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "engine/prefix_cache.h"

namespace hypenet {
namespace {

Tensor host_bytes(int64_t count) { return torch::empty({count}, torch::kUInt8); }

void check_bytes(const char* what, const Tensor& bytes, int64_t expected) {
  HYPENET_CHECK(bytes.is_cpu() && bytes.scalar_type() == torch::kUInt8 && bytes.dim() == 1 &&
                    bytes.size(0) == expected,
                "restore: ", what, ": expected ", expected, " bytes, found ", bytes.numel());
}

}  // namespace

/// A node's page, wherever it lies.
Tensor PrefixCache::page_bytes_of(const PrefixNode& node, size_t place) const {
  if (node.pages_in == CacheTier::kHost) return host_pages_.at(node.pages[place]).clone();
  Tensor bytes = host_bytes(tree_.sizes().page_bytes);
  int64_t begin = 0;
  for (const Tensor& part : state_.bytes_of_page(node.pages[place])) {
    bytes.narrow(0, begin, part.size(0)).copy_(part);
    begin += part.size(0);
  }
  return bytes;
}

Tensor PrefixCache::state_bytes_of(const PrefixNode& node) const {
  if (node.snapshot_in == CacheTier::kNone) return {};
  if (tree_.sizes().state_bytes == 0) return host_bytes(0);
  if (node.snapshot_in == CacheTier::kHost) return host_snapshots_.at(node.snapshot).clone();
  Tensor bytes = host_bytes(tree_.sizes().state_bytes);
  int64_t begin = 0;
  for (const Tensor& part : state_.bytes_of_slot(node.snapshot)) {
    bytes.narrow(0, begin, part.size(0)).copy_(part);
    begin += part.size(0);
  }
  return bytes;
}

std::optional<SavedPrefix> PrefixCache::save(std::span<const int32_t> tokens,
                                             const std::string& salt) {
  PrefixTree::Prompt prompt{.tokens = tokens,
                            .mode = ReuseMode::kNearest,
                            .limit = std::ssize(tokens),
                            .sees_disk = true};
  if (disk_ && bring_near(find(salt, prompt))) wait_for_transfers(0);
  prompt.sees_disk = false;
  const auto match = find(salt, prompt);
  PrefixNode* last = match.node;
  if (last->parent == nullptr) return std::nullopt;
  side_.wait();
  SavedPrefix saved;
  saved.tokens.assign(tokens.begin(), tokens.begin() + last->end);
  saved.pages.resize(static_cast<size_t>(memory_.pages_for(last->end)));
  for (const PrefixNode* node : path_to(*last)) {
    saved.pieces.push_back({.tokens = node->end - node->begin,
                            .is_exact = node->is_exact,
                            .is_marked = node->is_marked,
                            .states = state_bytes_of(*node)});
    for (size_t i = 0; i < node->pages.size(); ++i) {
      saved.pages[static_cast<size_t>(tree_.first_page(*node)) + i] = page_bytes_of(*node, i);
    }
  }
  return saved;
}

int64_t PrefixCache::restore(const SavedPrefix& prefix, const std::string& salt) {
  const auto sizes = tree_.sizes();
  int64_t tokens = 0;
  for (const auto& piece : prefix.pieces) {
    HYPENET_CHECK(piece.tokens > 0 && piece.tokens <= std::ssize(prefix.tokens) - tokens,
                  "restore: expected pieces of ", prefix.tokens.size(), " tokens, found one of ",
                  piece.tokens);
    if (piece.states.defined()) check_bytes("states", piece.states, sizes.state_bytes);
    tokens += piece.tokens;
  }
  HYPENET_CHECK(tokens == std::ssize(prefix.tokens) && tokens <= memory_.max_tokens(),
                "restore: expected pieces of ", prefix.tokens.size(), " tokens, and at most ",
                memory_.max_tokens(), ", found ", tokens);
  HYPENET_CHECK(std::ssize(prefix.pages) == memory_.pages_for(tokens), "restore: expected ",
                memory_.pages_for(tokens), " pages, found ", prefix.pages.size());
  for (const Tensor& page : prefix.pages) check_bytes("a page", page, sizes.page_bytes);
  side_.wait();  // host memory that they read may be written now
  PrefixNode* node = &tree_.root(salt_key(salt));
  int64_t begin = 0, restored = 0;
  locked_.clear();
  for (const auto& piece : prefix.pieces) {
    const auto part = std::span(prefix.tokens)
                          .subspan(static_cast<size_t>(begin), static_cast<size_t>(piece.tokens));
    begin += piece.tokens;
    node = &tree_.extend(*node, part, piece.is_exact);
    node->is_marked |= piece.is_marked;
    locked_.insert(node);
    if (!bring_in(*node, piece, prefix.pages)) break;
    if (tree_.can_go_on_from(*node)) restored = node->end;
  }
  locked_.clear();
  return restored;
}

/// Puts a saved piece's pages and states in where the node has none; false where there is no room.
bool PrefixCache::bring_in(PrefixNode& node, const SavedPrefix::Piece& piece,
                           std::span<const Tensor> pages) {
  const int64_t count = tree_.page_count(node);
  if (tree_.sizes().page_bytes > 0 && !is_near(node.pages_in)) {
    const auto own =
        pages.subspan(static_cast<size_t>(tree_.first_page(node)), static_cast<size_t>(count));
    if (!bring_pages_in(node, own)) return false;
  }
  if (piece.states.defined() && !is_near(node.snapshot_in)) fill_snapshot(node, piece.states);
  return true;
}

/// A snapshot of these states, on the host where there is room, else on the device.
void PrefixCache::fill_snapshot(PrefixNode& node, const Tensor& states) {
  if (tree_.sizes().state_bytes == 0) {
    node.snapshot_in = CacheTier::kDevice;
  } else if (const auto unit = host_snapshot(HUGE_VAL)) {
    host_snapshots_.at(*unit).copy_(states);
    node.snapshot_in = CacheTier::kHost, node.snapshot = *unit;
  } else if (const auto place = device_snapshot()) {
    part_bytes(states, state_.bytes_of_slot(*place));
    node.snapshot_in = CacheTier::kDevice, node.snapshot = *place;
  } else {
    return;
  }
  node.was_evicted = false;
}

bool PrefixCache::bring_pages_in(PrefixNode& node, std::span<const Tensor> pages) {
  const auto count = std::ssize(pages);
  if (host_pages_.most() >= count && has_host_room(HUGE_VAL, count)) {
    node.pages.clear();
    for (const Tensor& page : pages) {
      node.pages.push_back(*host_pages_.take());
      host_pages_.at(node.pages.back()).copy_(page);
    }
    node.pages_in = CacheTier::kHost;
    return true;
  }
  const bool may_be_on_device =
      node.parent->parent == nullptr || node.parent->pages_in == CacheTier::kDevice;
  if (!may_be_on_device || !make_room(count)) return false;
  std::vector<int32_t> taken;
  for (const Tensor& page : pages) {
    taken.push_back(*memory_.take_page());
    part_bytes(page, state_.bytes_of_page(taken.back()));
  }
  hold(node, taken);
  for (const int32_t page : taken) memory_.drop_page(page);
  return true;
}

}  // namespace hypenet
