// A program without device code records nothing.
#include "ops/graph.h"

#include "base/error.h"

namespace hypenet {

struct Graph::Recording {};

bool can_capture(torch::Device /*device*/) { return false; }

Graph::Graph(torch::Device device, const std::function<void()>& /*work*/) {
  throw Error(
      concat("graph: expected a CUDA device and a program with device code, found ", device.str()));
}

Graph::~Graph() = default;
Graph::Graph(Graph&&) noexcept = default;
Graph& Graph::operator=(Graph&&) noexcept = default;

void Graph::replay() {}

}  // namespace hypenet
