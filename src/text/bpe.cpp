// A heap of candidate merges over a linked list of symbols: O(n log n) for a word of n bytes.
#include "text/bpe.h"

#include <algorithm>
#include <bit>
#include <string>

#include "base/error.h"
#include "text/byte_level.h"

namespace hypenet {

namespace {

constexpr uint64_t kGoldenRatio = 0x9E3779B97F4A7C15ULL;

uint64_t pair_key(int32_t left, int32_t right) {
  return (uint64_t{static_cast<uint32_t>(left)} << 32) | static_cast<uint32_t>(right);
}

size_t cache_size(size_t text_size) {
  // About one slot for each word of English; more than the second-level cache holds does not pay.
  return std::bit_ceil(std::clamp<size_t>(text_size / 4, 16, 1 << 15));
}

}  // namespace

MergeTable::MergeTable(size_t merges) : slots_(std::bit_ceil(2 * merges + 2)) {
  shift_ = 64 - std::countr_zero(slots_.size());
}

size_t MergeTable::slot_of(uint64_t pair) const {
  size_t slot = (pair * kGoldenRatio) >> shift_;
  while (slots_[slot].pair != pair && slots_[slot].pair != kEmpty)
    slot = (slot + 1) & (slots_.size() - 1);
  return slot;
}

void MergeTable::insert(int32_t left, int32_t right, Merge merge) {
  const uint64_t pair = pair_key(left, right);
  slots_[slot_of(pair)] = {pair, merge};
}

const MergeTable::Merge* MergeTable::find(int32_t left, int32_t right) const {
  const Slot& slot = slots_[slot_of(pair_key(left, right))];
  return slot.pair == kEmpty ? nullptr : &slot.merge;
}

Bpe::Workspace::Workspace(size_t text_size) : cache_(cache_size(text_size)) {}

Bpe::Bpe(const TokenizerFile& file)
    : merges_(file.merges.size()), ignore_merges_(file.ignore_merges) {
  std::unordered_map<std::string_view, int32_t> ids;
  ids.reserve(file.vocab.size());
  for (const auto& [entry, id] : file.vocab) ids.emplace(entry, id);
  const auto find = [&](const std::string& entry, size_t rank) {
    const auto found = ids.find(entry);
    HYPENET_CHECK(found != ids.end(), file.place, ": model.merges[", rank,
                  "]: expected entries of model.vocab, found ", entry);
    return found->second;
  };
  for (int byte = 0; byte < 256; ++byte) {
    const auto found = ids.find(entry_of_byte(static_cast<unsigned char>(byte)));
    byte_ids_[static_cast<size_t>(byte)] = found == ids.end() ? -1 : found->second;
  }
  for (size_t rank = 0; rank < file.merges.size(); ++rank) {
    const auto& [left, right] = file.merges[rank];
    const int32_t left_id = find(left, rank), right_id = find(right, rank);
    merges_.insert(left_id, right_id, {static_cast<int32_t>(rank), find(left + right, rank)});
  }
  if (!ignore_merges_) return;
  whole_bytes_.reserve(file.vocab.size());
  for (const auto& [entry, id] : file.vocab) {
    if (auto bytes = bytes_of_entry(entry))
      whole_words_.emplace(whole_bytes_.emplace_back(std::move(*bytes)), id);
  }
}

void Bpe::encode(std::string_view word, Workspace& work, std::vector<int32_t>& ids) const {
  const size_t hash = std::hash<std::string_view>{}(word);
  auto& cached = work.cache_[hash & (work.cache_.size() - 1)];
  if (cached.word == word) {
    // By index: appending may move the ids.
    for (size_t i = 0; i < cached.size; ++i) ids.push_back(ids[cached.begin + i]);
    return;
  }
  const size_t begin = ids.size();
  const auto whole = whole_words_.find(word);
  if (whole != whole_words_.end()) {
    ids.push_back(whole->second);
  } else {
    merge(word, work, ids);
  }
  cached = {word, begin, ids.size() - begin};
}

void Bpe::merge(std::string_view word, Workspace& work, std::vector<int32_t>& ids) const {
  const auto worse = [](const Workspace::Candidate& a, const Workspace::Candidate& b) {
    return a.rank != b.rank ? a.rank > b.rank : a.position > b.position;
  };
  auto& symbols = work.symbols_;
  auto& heap = work.heap_;
  start(word, work);
  std::make_heap(heap.begin(), heap.end(), worse);
  while (!heap.empty()) {
    const Workspace::Candidate best = heap.front();
    std::pop_heap(heap.begin(), heap.end(), worse);
    heap.pop_back();
    const auto [id, previous, next] = symbols[static_cast<size_t>(best.position)];
    if (id < 0 || next < 0) continue;
    // The neighbours may have changed since; what counts is that they still merge into the same
    // token.
    const MergeTable::Merge* merge = merges_.find(id, symbols[static_cast<size_t>(next)].id);
    if (!merge || merge->id != best.id) continue;
    link(work, best.position, best.id);
    for (const int32_t left : {previous, best.position}) {
      const size_t size = heap.size();
      if (left >= 0) propose(work, left, symbols[static_cast<size_t>(left)].next);
      if (heap.size() > size) std::push_heap(heap.begin(), heap.end(), worse);
    }
  }
  for (size_t i = 0; i < symbols.size(); ++i) {
    if (symbols[i].id >= 0) ids.push_back(symbols[i].id);
  }
}

void Bpe::start(std::string_view word, Workspace& work) const {
  work.symbols_.clear();
  work.heap_.clear();
  for (const char byte : word) {
    const int32_t id = byte_ids_[static_cast<unsigned char>(byte)];
    if (id < 0) continue;
    const auto position = static_cast<int32_t>(work.symbols_.size());
    work.symbols_.push_back({id, position - 1, position + 1});
  }
  if (work.symbols_.empty()) return;
  work.symbols_.back().next = -1;
  for (const auto& symbol : work.symbols_) {
    if (symbol.next >= 0) propose(work, symbol.next - 1, symbol.next);
  }
}

void Bpe::propose(Workspace& work, int32_t left, int32_t right) const {
  if (right < 0) return;
  const auto& symbols = work.symbols_;
  const MergeTable::Merge* merge =
      merges_.find(symbols[static_cast<size_t>(left)].id, symbols[static_cast<size_t>(right)].id);
  if (merge) work.heap_.push_back({merge->rank, left, merge->id});
}

void Bpe::link(Workspace& work, int32_t position, int32_t merged_id) {
  auto& symbols = work.symbols_;
  auto& left = symbols[static_cast<size_t>(position)];
  auto& right = symbols[static_cast<size_t>(left.next)];
  left.id = merged_id;
  left.next = right.next;
  if (right.next >= 0) symbols[static_cast<size_t>(right.next)].previous = position;
  right.id = -1;
}

}  // namespace hypenet
