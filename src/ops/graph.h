// CUDA graphs: work recorded once, replayed without the host's cost of each launch; and work of
// which only parts can be recorded.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include <functional>
#include <memory>

#include "base/error.h"

namespace hypenet {

using torch::Tensor;

/// Whether work on this device can be recorded: a CUDA device and a program with device code.
bool can_capture(torch::Device device);

/// A recording broke off in a way that leaves libtorch's memory pools unusable: the program has to
/// end.
class BrokenRecording : public Error {
 public:
  using Error::Error;
};

/// Device memory that several recordings share: those that never run at the same time.
class GraphMemory {
 public:
  explicit GraphMemory(torch::Device device);
  ~GraphMemory();
  GraphMemory(const GraphMemory&) = delete;
  GraphMemory& operator=(const GraphMemory&) = delete;

 private:
  friend class GraphSeries;
  struct Pool;
  std::unique_ptr<Pool> pool_;
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

/// Graphs with work in between that is queued anew at each replay.
class GraphSeries {
 public:
  /// Records what `work` queues, as Graph does. `work` names what is not recorded by `aside`.
  GraphSeries(GraphMemory& memory, const std::function<void(GraphSeries&)>& work);
  ~GraphSeries();
  GraphSeries(const GraphSeries&) = delete;
  GraphSeries& operator=(const GraphSeries&) = delete;

  /// Within the constructor's `work` alone: this runs at each replay, between what was recorded
  /// before and what comes now; it does not run while recording. Tensors of the recording that it
  /// reads and writes are named by views without ownership (`unowned`), so that their memory serves
  /// what is recorded later, too.
  void aside(const std::function<void()>& work);

  /// Queues everything on the device's current stream.
  void replay();

 private:
  struct Recording;
  std::unique_ptr<Recording> recording_;
};

/// The same numbers in the same place, which this tensor does not keep.
inline Tensor unowned(const Tensor& x) {
  return torch::from_blob(x.data_ptr(), x.sizes(), x.strides(), x.options());
}

}  // namespace hypenet
