// A CUDA graph: work recorded once, replayed without the host's cost of each launch.
#pragma once

#include <torch/torch.h>

#include <functional>
#include <memory>

#include "base/error.h"

namespace hypenet {

/// Whether work on this device can be recorded: a CUDA device and a program with device code.
bool can_capture(torch::Device device);

/// A recording broke off in a way that leaves libtorch's memory pools unusable: the program has to
/// end.
class BrokenRecording : public Error {
 public:
  using Error::Error;
};

/// Recorded work and the device memory that its tensors live in.
class Graph {
 public:
  /// Records what `work` queues on the device, without running it. `work` may not wait for the
  /// device, nor read tensors that change place between replays; it has run before, so that
  /// libraries are loaded and their plans made. Throws Error without can_capture; what `work`
  /// throws; BrokenRecording when it waited for the device.
  Graph(torch::Device device, const std::function<void()>& work);
  ~Graph();
  Graph(Graph&&) noexcept;
  Graph& operator=(Graph&&) noexcept;
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  /// Queues the recorded work on the device's current stream.
  void replay();

 private:
  struct Recording;
  std::unique_ptr<Recording> recording_;
};

}  // namespace hypenet
