// Weights that are whole only while they are read: elsewhere a process of a job has its share of
// them.
#pragma once

#include <cstdint>
#include <string>

#include "ops/weight.h"

namespace hypenet {

/// Told by a model which part of it is read next, so that it can be made whole in time.
class WeightKeeper {
 public:
  virtual ~WeightKeeper() = default;

  /// A forward begins: the embedding and the head are read until the step is over.
  virtual void before_forward() = 0;

  /// From now on a forward reads this layer and no other.
  virtual void before_layer(int64_t layer) = 0;

  /// From now on a backward reads this layer and no other.
  virtual void before_backward(int64_t layer) = 0;
};

/// A matrix that a model multiplies by. `layer` counts the layers, then the embedding, then the
/// head where it has one of its own.
struct ModelMatrix {
  std::string name;  // published, of the parameter
  int64_t layer = 0;
  Weight* weight = nullptr;
};

}  // namespace hypenet
