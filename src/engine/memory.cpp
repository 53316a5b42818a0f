// Sizes from a budget in bytes, and two lists of what is free.
#include "engine/memory.h"

#include <c10/core/CachingDeviceAllocator.h>

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "base/readable_bytes.h"

namespace hypenet {
namespace {

constexpr int64_t kDefaultCpuBytes = int64_t{4} << 30;
constexpr int64_t kMostTokens = int64_t{1} << 24;  // of a sequence: bounds the page table
constexpr int64_t kMostPages = INT32_MAX;

int64_t budget(const EngineOptions& options, torch::Device device) {
  if (options.memory_bytes > 0) return options.memory_bytes;
  if (!device.is_cuda()) return kDefaultCpuBytes;
  const auto [free, total] = free_bytes(device);
  return free - total / 10;
}

MemorySizes sizes_of(CausalLm& model, const EngineOptions& options) {
  HYPENET_CHECK(options.page_tokens > 0 && options.page_tokens % 64 == 0,
                "engine: page_tokens: expected a multiple of 64, found ", options.page_tokens);
  HYPENET_CHECK(options.max_sequences > 0, "engine: max_sequences: expected at least 1, found ",
                options.max_sequences);
  HYPENET_CHECK(options.max_context >= 0 && options.max_context <= kMostTokens,
                "engine: max_context: expected 0 to ", kMostTokens, ", found ",
                options.max_context);
  const auto types = model->memory_types();
  const int64_t bytes = budget(options, model->head_weight().device());
  const int64_t states = options.max_sequences * slot_bytes(model->config(), types);
  const int64_t page = page_bytes(model->config(), types, options.page_tokens);
  HYPENET_CHECK(bytes >= states + page, "engine: memory: expected at least ",
                readable_bytes(states + page), " for the states of ", options.max_sequences,
                " sequences (", readable_bytes(states), ") and a page of ", options.page_tokens,
                " tokens (", readable_bytes(page), "), found ", readable_bytes(bytes));
  const int64_t longest = options.max_context > 0 ? options.max_context : kMostTokens;
  const int64_t most =
      options.max_sequences * ((longest + options.page_tokens - 1) / options.page_tokens);
  // Without attention layers nothing grows with the context, and there are no pages.
  const int64_t pages = page == 0 ? 0 : std::min({most, (bytes - states) / page, kMostPages});
  return {options.max_sequences, pages, options.page_tokens};
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

Memory::Memory(CausalLm& model, const EngineOptions& options)
    : Memory(model, options, sizes_of(model, options)) {}

Memory::Memory(CausalLm& model, const EngineOptions& options, const MemorySizes& sizes)
    : poisons_(options.poisons_freed_memory),
      max_tokens_(std::min(sizes.pages > 0 ? sizes.pages * sizes.page_tokens : kMostTokens,
                           options.max_context > 0 ? options.max_context : kMostTokens)),
      state_(allocate(model, sizes)) {
  const auto device = model->head_weight().device();
  page_table_ = torch::zeros({sizes.slots, pages_for(max_tokens_)},
                             torch::TensorOptions(torch::kInt32).device(device));
  free_slots_.resize(static_cast<size_t>(sizes.slots));
  free_pages_.resize(static_cast<size_t>(sizes.pages));
  // The first ones are taken from the back.
  std::iota(free_slots_.rbegin(), free_slots_.rend(), int64_t{0});
  std::iota(free_pages_.rbegin(), free_pages_.rend(), 0);
  if (!poisons_) return;
  for (int64_t slot = 0; slot < sizes.slots; ++slot) state_.poison({slot});
  state_.poison({.pages = free_pages_});
}

int64_t Memory::pages_for(int64_t tokens) const {
  if (state_.sizes.pages == 0) return 0;
  return (tokens + state_.sizes.page_tokens - 1) / state_.sizes.page_tokens;
}

Tensor Memory::used_page_table() const {
  const int64_t longest = lease_sizes_.empty() ? 0 : *lease_sizes_.rbegin();
  return page_table_.narrow(1, 0, longest).contiguous();
}

void Memory::check_fits(int64_t tokens) const {
  HYPENET_CHECK(tokens <= max_tokens_, "engine: a sequence of prompt and answer: expected at most ",
                max_tokens_, " tokens (", pages(), " pages of ", state_.sizes.page_tokens,
                " tokens, ", readable_bytes(state_.bytes()), " in all), found ", tokens);
}

std::optional<Lease> Memory::lease(int64_t tokens) {
  const auto count = static_cast<size_t>(pages_for(tokens));
  if (free_slots_.empty() || free_pages_.size() < count) return std::nullopt;
  Lease lease{.slot = free_slots_.back()};
  lease.pages.assign(free_pages_.rbegin(), free_pages_.rbegin() + static_cast<int64_t>(count));
  const Tensor host =
      torch::empty({static_cast<int64_t>(count)},
                   torch::TensorOptions(torch::kInt64).pinned_memory(page_table_.is_cuda()));
  std::copy(lease.pages.begin(), lease.pages.end(), host.mutable_data_ptr<int64_t>());
  lease.pages_on_device = host.to(page_table_.device(), torch::kInt64, /*non_blocking=*/true);
  page_table_[lease.slot].narrow(0, 0, host.size(0)).copy_(lease.pages_on_device);
  state_.clear_slot(lease.slot);
  free_slots_.pop_back();
  free_pages_.resize(free_pages_.size() - count);
  lease_sizes_.insert(static_cast<int64_t>(count));
  return lease;
}

void Memory::release(Lease lease) {
  if (poisons_) state_.poison({lease.slot, lease.pages});
  lease_sizes_.erase(lease_sizes_.find(static_cast<int64_t>(lease.pages.size())));
  free_slots_.push_back(lease.slot);
  free_pages_.insert(free_pages_.end(), lease.pages.rbegin(), lease.pages.rend());
}

}  // namespace hypenet
