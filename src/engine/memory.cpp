// Sizes from a budget in bytes, and two lists of what is free.
#include "engine/memory.h"

#include <c10/core/CachingDeviceAllocator.h>

#include <algorithm>
#include <numeric>
#include <string>

#include "base/error.h"
#include "base/readable_bytes.h"

namespace hypenet {
namespace {

constexpr int64_t kDefaultCpuBytes = int64_t{4} << 30;
constexpr int64_t kMostTokens = int64_t{1} << 24;  // of a sequence: bounds the page table
constexpr int64_t kMostPages = INT32_MAX;

/// Bytes for states and pages, and where that number comes from.
struct Budget {
  int64_t bytes = 0;
  std::string source = {};
};

Budget budget(const EngineOptions& options, torch::Device device) {
  if (options.memory_bytes > 0) return {options.memory_bytes};
  if (!device.is_cuda()) return {kDefaultCpuBytes};
  const auto [free, total] = free_bytes(device);
  return {std::max(int64_t{0}, free - total / 10),
          concat(": of the GPU's ", readable_bytes(total), " other tensors and programs leave ",
                 readable_bytes(free), ", and a tenth stays free")};
}

void check_options(const EngineOptions& options) {
  HYPENET_CHECK(options.page_tokens > 0 && options.page_tokens % 64 == 0,
                "engine: page_tokens: expected a multiple of 64, found ", options.page_tokens);
  HYPENET_CHECK(options.max_sequences > 0, "engine: max_sequences: expected at least 1, found ",
                options.max_sequences);
  HYPENET_CHECK(options.max_context >= 0 && options.max_context <= kMostTokens,
                "engine: max_context: expected 0 to ", kMostTokens, ", found ",
                options.max_context);
}

/// Bytes on the device for kept prompts, of those that slots leave.
int64_t kept_bytes(const EngineOptions& options, int64_t left) {
  return options.cache_bytes < 0 ? left / 2 : std::min(options.cache_bytes, left);
}

/// Slots of snapshots come behind those of sequences.
MemorySizes sizes_of(CausalLm& model, const EngineOptions& options) {
  check_options(options);
  const auto types = model->memory_types();
  const auto [bytes, source] = budget(options, model->head_weight().device());
  const int64_t slot = slot_bytes(model->config(), types);
  const int64_t states = options.max_sequences * slot;
  const int64_t page = page_bytes(model->config(), types, options.page_tokens);
  HYPENET_CHECK(bytes >= states + page, "engine: memory: expected at least ",
                readable_bytes(states + page), " for the states of ", options.max_sequences,
                " sequences (", readable_bytes(states), ") and a page of ", options.page_tokens,
                " tokens (", readable_bytes(page), "), found ", readable_bytes(bytes), source);
  const auto shares = cache_shares(kept_bytes(options, bytes - states - page), slot, page);
  const int64_t snapshots = slot == 0 ? 0 : shares.snapshots / slot;
  const int64_t longest = options.max_context > 0 ? options.max_context : kMostTokens;
  const int64_t most =
      options.max_sequences * ((longest + options.page_tokens - 1) / options.page_tokens);
  // Without attention layers nothing grows with the context, and there are no pages.
  const int64_t pages = page == 0
                            ? 0
                            : std::min({most + shares.pages / page,
                                        (bytes - states - snapshots * slot) / page, kMostPages});
  return {options.max_sequences + snapshots, pages, options.page_tokens};
}

/// What other programs hold is known only by asking.
DecodeState allocate(CausalLm& model, const MemorySizes& sizes) {
  const auto types = model->memory_types();
  const auto device = model->head_weight().device();
  try {
    return {model->config(), sizes, types, device};
  } catch (const c10::Error& error) {
    const int64_t states = sizes.slots * slot_bytes(model->config(), types);
    const int64_t pages = sizes.pages * page_bytes(model->config(), types, sizes.page_tokens);
    throw Error(concat("engine: memory: expected ", readable_bytes(states + pages), " free on ",
                       device.str(), " for states (", readable_bytes(states), ") and pages (",
                       readable_bytes(pages), "), found: ", error.what_without_backtrace()));
  }
}

}  // namespace

DeviceBytes free_bytes(torch::Device device) {
  auto* allocator = c10::getDeviceAllocator(device.type());
  allocator->emptyCache();
  const auto [free, total] = allocator->getMemoryInfo(device.index());
  return {static_cast<int64_t>(free), static_cast<int64_t>(total)};
}

CacheShares cache_shares(int64_t bytes, int64_t slot_bytes, int64_t page_bytes) {
  if (page_bytes == 0) return {bytes, 0};
  const int64_t snapshots = slot_bytes == 0 ? 0 : bytes / 2;
  return {snapshots, bytes - snapshots};
}

Memory::Memory(CausalLm& model, const EngineOptions& options)
    : Memory(model, options, sizes_of(model, options)) {}

Memory::Memory(CausalLm& model, const EngineOptions& options, const MemorySizes& sizes)
    : poisons_(options.poisons_freed_memory),
      slots_(options.max_sequences),
      max_tokens_(std::min(sizes.pages > 0 ? sizes.pages * sizes.page_tokens : kMostTokens,
                           options.max_context > 0 ? options.max_context : kMostTokens)),
      state_(allocate(model, sizes)),
      side_(model->head_weight().device()),
      pool_(sizes.pages) {
  const auto device = model->head_weight().device();
  page_table_ = torch::zeros({slots_, pages_for(max_tokens_)},
                             torch::TensorOptions(torch::kInt32).device(device));
  free_slots_.resize(static_cast<size_t>(slots_));
  free_snapshots_.resize(static_cast<size_t>(sizes.slots - slots_));
  // The first ones are taken from the back.
  std::iota(free_slots_.rbegin(), free_slots_.rend(), int64_t{0});
  std::iota(free_snapshots_.rbegin(), free_snapshots_.rend(), static_cast<int32_t>(slots_));
  if (!poisons_) return;
  for (int64_t slot = 0; slot < sizes.slots; ++slot) state_.poison({slot});
  std::vector<int32_t> pages(static_cast<size_t>(sizes.pages));
  std::iota(pages.begin(), pages.end(), 0);
  state_.poison({.pages = pages});
}

int64_t Memory::pages_for(int64_t tokens) const {
  if (state_.sizes.pages == 0) return 0;
  return (tokens + state_.sizes.page_tokens - 1) / state_.sizes.page_tokens;
}

Tensor Memory::used_page_table() const {
  const int64_t longest = lease_sizes_.empty() ? 0 : *lease_sizes_.rbegin();
  return page_table_.narrow(1, 0, longest).contiguous();
}

Tensor Memory::pages_of(const Lease& lease) const {
  const auto count = static_cast<int64_t>(lease.pages.size());
  return page_table_[lease.slot].narrow(0, 0, count).to(torch::kInt64);
}

void Memory::check_fits(int64_t tokens) const {
  HYPENET_CHECK(tokens <= max_tokens_, "engine: a sequence of prompt and answer: expected at most ",
                max_tokens_, " tokens (", pages(), " pages of ", state_.sizes.page_tokens,
                " tokens, ", readable_bytes(state_.bytes()), " in all), found ", tokens);
}

std::optional<Lease> Memory::lease(int64_t tokens, std::span<const int32_t> shared) {
  const int64_t missing = pages_for(tokens) - std::ssize(shared);
  if (free_slots_.empty() || free_pages() < missing) return std::nullopt;
  Lease lease{.slot = free_slots_.back()};
  free_slots_.pop_back();
  state_.clear_slot(lease.slot);
  for (const int32_t page : shared) pool_.hold(page);
  lease.pages.assign(shared.begin(), shared.end());
  lease_sizes_.insert(std::ssize(shared));
  write_table(lease, 0);
  grow(lease, tokens);
  return lease;
}

bool Memory::grow(Lease& lease, int64_t tokens) {
  const size_t before = lease.pages.size(), needed = static_cast<size_t>(pages_for(tokens));
  if (needed <= before) return true;
  if (free_pages() < static_cast<int64_t>(needed - before)) return false;
  while (lease.pages.size() < needed) lease.pages.push_back(*take_page());
  lease_sizes_.erase(lease_sizes_.find(static_cast<int64_t>(before)));
  lease_sizes_.insert(static_cast<int64_t>(needed));
  write_table(lease, before);
  return true;
}

/// The lease's pages from `first` on.
void Memory::write_table(const Lease& lease, size_t first) {
  if (lease.pages.size() == first) return;
  const auto count = static_cast<int64_t>(lease.pages.size() - first);
  const Tensor host = torch::empty(
      {count}, torch::TensorOptions(torch::kInt32).pinned_memory(page_table_.is_cuda()));
  std::copy_n(&lease.pages[first], count, host.mutable_data_ptr<int32_t>());
  page_table_[lease.slot]
      .narrow(0, static_cast<int64_t>(first), count)
      .copy_(host, /*non_blocking=*/true);
}

void Memory::release_pages(Lease& lease) {
  lease_sizes_.erase(lease_sizes_.find(std::ssize(lease.pages)));
  lease_sizes_.insert(0);
  for (const int32_t page : lease.pages) drop_page(page);
  lease.pages.clear();
}

void Memory::release(Lease lease) {
  release_pages(lease);
  lease_sizes_.erase(lease_sizes_.find(0));
  if (poisons_) state_.poison({lease.slot});
  free_slots_.push_back(lease.slot);
  ++releases_;
}

void Memory::put_back_page(int32_t page) {
  if (poisons_) state_.poison({.slot = PlaceInMemory::kNoSlot, .pages = {&page, 1}});
  pool_.put_back(page);
}

void Memory::put_back_snapshot(int32_t slot) {
  if (poisons_) state_.poison({slot});
  free_snapshots_.push_back(slot);
}

std::optional<int32_t> Memory::take_page() {
  while (!leaving_pages_.empty() &&
         (pool_.free() == 0 || side_.is_done(leaving_pages_.front().ticket))) {
    side_.join(leaving_pages_.front().ticket);
    put_back_page(leaving_pages_.front().number);
    leaving_pages_.pop_front();
  }
  if (pool_.free() == 0) return std::nullopt;
  return pool_.take();
}

void Memory::drop_page(int32_t page) {
  ++releases_;
  if (!pool_.drop(page)) return;
  if (side_.is_done(side_.last())) return put_back_page(page);
  leaving_pages_.push_back({side_.last(), page});
}

std::optional<int32_t> Memory::take_snapshot() {
  while (!leaving_snapshots_.empty() &&
         (free_snapshots_.empty() || side_.is_done(leaving_snapshots_.front().ticket))) {
    side_.join(leaving_snapshots_.front().ticket);
    put_back_snapshot(leaving_snapshots_.front().number);
    leaving_snapshots_.pop_front();
  }
  if (free_snapshots_.empty()) return std::nullopt;
  const int32_t slot = free_snapshots_.back();
  free_snapshots_.pop_back();
  return slot;
}

void Memory::drop_snapshot(int32_t slot) {
  if (side_.is_done(side_.last())) return put_back_snapshot(slot);
  leaving_snapshots_.push_back({side_.last(), slot});
}

}  // namespace hypenet
