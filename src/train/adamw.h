// AdamW over named parameters: libtorch's fused update, with moments that can be saved by name. An
// update is queued in two calls, neither of which waits for the device.
#pragma once

#include <torch/torch.h>

#include <string>
#include <utility>
#include <vector>

#include "store/safetensors.h"
#include "train/schedule.h"

namespace hypenet {

class AdamW {
 public:
  /// `parameters` share storage with the model; they are updated in place.
  AdamW(NamedTensors parameters, const OptimizerConfig& config);

  /// The rate of updates from now on, on the device, so that a recorded update reads a new one at
  /// each replay.
  void set_learning_rate(double rate);

  /// Drops all gradients: the next backward makes new ones, in a graph's own memory when recorded.
  void zero_gradients();

  /// The gradients as they stand, of those parameters that have one.
  std::vector<Tensor> gradients() const;

  /// Joint norm of the gradients before clipping, a float32 scalar on the device; with `loss`, a
  /// scalar too, it decides what step() does. Throws Error when there are no gradients.
  Tensor inspect(const Tensor& loss);

  /// One update with the gradients as inspect() found them: scaled in place so that their joint
  /// norm is at most config.clip, and no update at all when the norm or the loss was not finite,
  /// now or at any call before. Parameters without a gradient are left alone.
  void step();

  const NamedTensors& parameters() const { return parameters_; }

  /// Parameters, both moments and the step count, named for a state file; loading copies into
  /// place.
  NamedTensors state() const;
  /// Throws Error naming the tensor that is missing or has another shape.
  void load_state(const SafetensorsFile& file, const std::string& place);

 private:
  NamedTensors parameters_;
  OptimizerConfig config_;
  std::vector<Tensor> tensors_, first_moments_, second_moments_, steps_;
  // float32 scalars on the device: the rate, what gradients are divided by, and 1 from the first
  // norm or loss on that was not finite.
  Tensor rate_, divisor_, is_stopped_;
};

}  // namespace hypenet
