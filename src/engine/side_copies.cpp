// libtorch's own device guard gives streams and events, so that no CUDA header is needed here.
#include "engine/side_copies.h"

#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

namespace hypenet {

SideCopies::SideCopies(torch::Device device) : device_(device) {
  if (!device.is_cuda()) return;
  stream_ = c10::impl::VirtualGuardImpl(device.type()).getStreamFromGlobalPool(device);
}

int64_t SideCopies::queue(const std::function<void()>& copies) {
  ++last_;
  if (!stream_) {
    copies();
    done_ = last_;
    return last_;
  }
  c10::Event before(device_.type());
  before.record(c10::impl::VirtualGuardImpl(device_.type()).getStream(device_));
  before.block(*stream_);
  {
    const c10::StreamGuard on_side(*stream_);
    copies();
  }
  under_way_.emplace_back(last_, c10::Event(device_.type()));
  under_way_.back().second.record(*stream_);
  return last_;
}

bool SideCopies::is_done(int64_t ticket) {
  while (done_ < ticket && !under_way_.empty() && under_way_.front().second.query()) {
    done_ = under_way_.front().first;
    under_way_.pop_front();
  }
  return done_ >= ticket;
}

void SideCopies::join(int64_t ticket) {
  if (is_done(ticket)) return;
  for (auto& [number, event] : under_way_) {
    if (number < ticket) continue;
    return event.block(c10::impl::VirtualGuardImpl(device_.type()).getStream(device_));
  }
}

void SideCopies::wait() {
  if (!under_way_.empty()) under_way_.back().second.synchronize();
  is_done(last_);
}

}  // namespace hypenet
