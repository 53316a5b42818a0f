// AdamW over named parameters: libtorch's fused update, with moments that can be saved by name.
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

  /// One update with the gradients as they stand; parameters without a gradient are left alone.
  void step(double learning_rate);

  void zero_gradients();

  /// Scales all gradients so that their joint norm is at most config.clip. Returns the norm before,
  /// a scalar on the device.
  Tensor clip_gradients();

  const NamedTensors& parameters() const { return parameters_; }

  /// Parameters, both moments and the step count, named for a state file; loading copies into
  /// place.
  NamedTensors state() const;
  /// Throws Error naming the tensor that is missing or has another shape.
  void load_state(const SafetensorsFile& file, const std::string& place);

 private:
  std::vector<Tensor> gradients() const;

  NamedTensors parameters_;
  OptimizerConfig config_;
  std::vector<Tensor> tensors_, first_moments_, second_moments_, steps_;
};

}  // namespace hypenet
