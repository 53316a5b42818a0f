// Time that work on a device takes, read by the device itself: no wait of the host, and it may be
// recorded in a graph.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

namespace hypenet {

using torch::Tensor;

/// Adds up the times between start() and stop(), in which the device's current stream gets from one
/// to the other; on a CPU those of the calls.
class Stopwatch {
 public:
  explicit Stopwatch(torch::Device device);

  void start();
  void stop();

  /// Float32 [1], in seconds, on the device; may be set to zero.
  const Tensor& seconds() const { return seconds_; }

 private:
  void read(bool starts);

  Tensor seconds_, begin_;  // begin_: int64 [1], nanoseconds
};

}  // namespace hypenet
