// libtorch's CUDAGraph, recorded on a stream of its own.
#include "ops/graph.h"

#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

namespace hypenet {

struct Graph::Recording {
  at::cuda::CUDAGraph graph;
};

bool can_capture(torch::Device device) { return device.is_cuda(); }

Graph::Graph(torch::Device device, const std::function<void()>& work)
    : recording_(std::make_unique<Recording>()) {
  const c10::cuda::CUDAGuard on_device(device);
  c10::cuda::device_synchronize();
  const c10::cuda::CUDAStreamGuard on_stream(
      c10::cuda::getStreamFromPool(/*isHighPriority=*/false, device.index()));
  // Relaxed: other threads (input prefetch) may allocate and copy meanwhile.
  recording_->graph.capture_begin({0, 0}, cudaStreamCaptureModeRelaxed);
  try {
    work();
  } catch (const std::exception& failure) {
    try {
      recording_->graph.capture_end();
    } catch (const std::exception&) {
      throw BrokenRecording(concat("graph: ", failure.what()));
    }
    throw;
  }
  recording_->graph.capture_end();
}

Graph::~Graph() = default;
Graph::Graph(Graph&&) noexcept = default;
Graph& Graph::operator=(Graph&&) noexcept = default;

void Graph::replay() { recording_->graph.replay(); }

}  // namespace hypenet
