// A kernel of one thread, or the host's clock.
#include "ops/stopwatch.h"

#include <c10/core/DeviceGuard.h>

#include <chrono>

#include "kernels/device.h"
#include "ops/stream.h"

namespace hypenet {

Stopwatch::Stopwatch(torch::Device device)
    : seconds_(torch::zeros({1}, torch::TensorOptions(torch::kFloat32).device(device))),
      begin_(torch::zeros({1}, torch::TensorOptions(torch::kInt64).device(device))) {}

void Stopwatch::start() { read(true); }
void Stopwatch::stop() { read(false); }

void Stopwatch::read(bool starts) {
  auto* begin = begin_.mutable_data_ptr<int64_t>();
  auto* seconds = seconds_.mutable_data_ptr<float>();
  if (seconds_.is_cuda()) {
    const c10::DeviceGuard on_device(seconds_.device());
    throw_unless_ok("stopwatch", kernels::device_kernels().stopwatch({begin, seconds, starts},
                                                                     current_stream(seconds_)));
    return;
  }
  const auto since_start = std::chrono::steady_clock::now().time_since_epoch();
  const int64_t now = std::chrono::nanoseconds(since_start).count();
  if (starts) {
    *begin = now;
  } else {
    *seconds += static_cast<float>(now - *begin) * 1e-9F;
  }
}

}  // namespace hypenet
