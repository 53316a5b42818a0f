// Pinning memory takes long and may wait for the device: a few large blocks, never given back.
#include "engine/host_units.h"

#include <algorithm>

namespace hypenet {
namespace {

constexpr int64_t kBlockBytes = int64_t{64} << 20;

}  // namespace

HostUnits::HostUnits(int64_t unit_bytes, int64_t budget_bytes, bool is_pinned)
    : unit_bytes_(unit_bytes),
      most_(unit_bytes == 0 ? 0 : std::min<int64_t>(budget_bytes / unit_bytes, INT32_MAX)),
      block_units_(unit_bytes == 0 ? 1 : std::max<int64_t>(1, kBlockBytes / unit_bytes)),
      is_pinned_(is_pinned) {}

std::optional<int32_t> HostUnits::take() {
  if (free_.empty()) {
    if (made_ == most_) return std::nullopt;
    const int64_t count = std::min(block_units_, most_ - made_);
    blocks_.push_back(torch::empty({count, unit_bytes_},
                                   torch::TensorOptions(torch::kUInt8).pinned_memory(is_pinned_)));
    for (int64_t i = count; i > 0; --i) free_.push_back(static_cast<int32_t>(made_ + i - 1));
    made_ += count;
    holders_.resize(static_cast<size_t>(made_), 0);
  }
  const int32_t unit = free_.back();
  free_.pop_back();
  holders_[static_cast<size_t>(unit)] = 1;
  return unit;
}

Tensor HostUnits::at(int32_t unit) const {
  return blocks_[static_cast<size_t>(unit / block_units_)][unit % block_units_];
}

}  // namespace hypenet
