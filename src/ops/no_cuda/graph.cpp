// A program without device code records nothing.
#include "ops/graph.h"

#include "base/error.h"

namespace hypenet {

struct GraphMemory::Pool {};
struct Graph::Recording {};
struct GraphSeries::Recording {};

namespace {

[[noreturn]] void refuse(const std::string& device) {
  throw Error(
      concat("graph: expected a CUDA device and a program with device code, found ", device));
}

}  // namespace

bool can_capture(torch::Device /*device*/) { return false; }

GraphMemory::GraphMemory(torch::Device /*device*/) {}
GraphMemory::~GraphMemory() = default;

Graph::Graph(torch::Device device, const std::function<void()>& /*work*/) { refuse(device.str()); }

Graph::~Graph() = default;
Graph::Graph(Graph&&) noexcept = default;
Graph& Graph::operator=(Graph&&) noexcept = default;

void Graph::replay() {}

GraphSeries::GraphSeries(GraphMemory& /*memory*/,
                         const std::function<void(GraphSeries&)>& /*work*/) {
  refuse("none");
}
GraphSeries::~GraphSeries() = default;

void GraphSeries::aside(const std::function<void()>& /*work*/) {}
void GraphSeries::replay() {}

}  // namespace hypenet
