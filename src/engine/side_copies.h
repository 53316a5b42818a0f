// Copies between a device and host memory, beside what the device computes.
#pragma once

#include <c10/core/Event.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <deque>
#include <functional>
#include <optional>
#include <utility>

namespace hypenet {

/// On a GPU copies run one after the other on a stream of their own; on a CPU at once.
class SideCopies {
 public:
  explicit SideCopies(torch::Device device);

  /// What `copies` queues runs behind all that the current stream has now. Returns a ticket.
  int64_t queue(const std::function<void()>& copies);

  /// Whether the copies of this ticket and those before are done; never waits.
  bool is_done(int64_t ticket);

  /// What the current stream gets from now on runs behind the copies of this ticket.
  void join(int64_t ticket);

  /// The host waits until all are done.
  void wait();

  int64_t last() const { return last_; }

 private:
  torch::Device device_;
  std::optional<c10::Stream> stream_;
  int64_t last_ = 0, done_ = 0;  // tickets
  std::deque<std::pair<int64_t, c10::Event>> under_way_;
};

}  // namespace hypenet
