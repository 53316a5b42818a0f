// libtorch's CUDAGraph, recorded on a stream of its own.
#include "ops/graph.h"

#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <vector>

namespace hypenet {
namespace {

using at::cuda::CUDAGraph;

c10::cuda::CUDAStream recording_stream(torch::Device device) {
  return c10::cuda::getStreamFromPool(/*isHighPriority=*/false, device.index());
}

void begin(CUDAGraph& graph, const at::cuda::MempoolId_t& pool) {
  // Relaxed: other threads (input prefetch) may allocate and copy meanwhile.
  graph.capture_begin(pool, cudaStreamCaptureModeRelaxed);
}

/// Runs `work` while `recorded()`, the graph of the moment, is recording, and ends that.
template <class Recorded>
void record(const Recorded& recorded, const std::function<void()>& work) {
  try {
    work();
  } catch (const std::exception& failure) {
    try {
      recorded().capture_end();
    } catch (const std::exception&) {
      throw BrokenRecording(concat("graph: ", failure.what()));
    }
    throw;
  }
  recorded().capture_end();
}

}  // namespace

struct GraphMemory::Pool {
  torch::Device device;
  at::cuda::MempoolId_t id = at::cuda::graph_pool_handle();
  c10::cuda::CUDAStream stream;  // one for all, as cuBLAS keeps a workspace for each that it sees
};

struct Graph::Recording {
  CUDAGraph graph;
};

struct GraphSeries::Recording {
  at::cuda::MempoolId_t pool;
  std::vector<std::unique_ptr<CUDAGraph>> graphs = {};
  std::vector<std::function<void()>> asides = {};  // one behind each graph but the last

  void begin_next() {
    graphs.push_back(std::make_unique<CUDAGraph>());
    begin(*graphs.back(), pool);
  }
};

bool can_capture(torch::Device device) { return device.is_cuda(); }

GraphMemory::GraphMemory(torch::Device device)
    : pool_(new Pool{.device = device, .stream = recording_stream(device)}) {}

GraphMemory::~GraphMemory() = default;

Graph::Graph(torch::Device device, const std::function<void()>& work)
    : recording_(std::make_unique<Recording>()) {
  const c10::cuda::CUDAGuard on_device(device);
  c10::cuda::device_synchronize();
  const c10::cuda::CUDAStreamGuard on_stream(recording_stream(device));
  begin(recording_->graph, {0, 0});
  record([&]() -> CUDAGraph& { return recording_->graph; }, work);
}

Graph::~Graph() = default;
Graph::Graph(Graph&&) noexcept = default;
Graph& Graph::operator=(Graph&&) noexcept = default;

void Graph::replay() { recording_->graph.replay(); }

GraphSeries::GraphSeries(GraphMemory& memory, const std::function<void(GraphSeries&)>& work)
    : recording_(new Recording{memory.pool_->id}) {
  const c10::cuda::CUDAGuard on_device(memory.pool_->device);
  c10::cuda::device_synchronize();
  const c10::cuda::CUDAStreamGuard on_stream(memory.pool_->stream);
  recording_->begin_next();
  record([&]() -> CUDAGraph& { return *recording_->graphs.back(); }, [&] { work(*this); });
}

GraphSeries::~GraphSeries() = default;

void GraphSeries::aside(const std::function<void()>& work) {
  recording_->graphs.back()->capture_end();
  recording_->asides.push_back(work);
  recording_->begin_next();
}

void GraphSeries::replay() {
  for (size_t i = 0; i < recording_->graphs.size(); ++i) {
    recording_->graphs[i]->replay();
    if (i < recording_->asides.size()) recording_->asides[i]();
  }
}

}  // namespace hypenet
