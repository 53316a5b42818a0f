// AdamW over named parameters: libtorch's fused update, with moments that can be saved by name. An
// update is queued in two calls, neither of which waits for the device.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include <string>
#include <vector>

#include "store/safetensors.h"
#include "store/tensor_parts.h"
#include "train/schedule.h"

namespace hypenet {

class AdamW {
 public:
  /// `parameters` share storage with the model; they are updated in place. So are `parts`, this
  /// rank's of parameters that are shared out over ranks; all of them in the same order on all.
  AdamW(const NamedTensors& parameters, const OptimizerConfig& config,
        const std::vector<TensorPart>& parts = {});

  /// The rate of updates from now on, on the device, so that a recorded update reads a new one at
  /// each replay. Each parameter takes its share of it (rate_share).
  void set_learning_rate(double rate);

  /// Drops all gradients: the next backward makes new ones, in a graph's own memory when recorded.
  void zero_gradients();

  /// The gradients of whole parameters as they stand, of those that have one.
  std::vector<Tensor> whole_gradients() const;

  /// The sum of squares of the parts' gradients, a float32 scalar on the device; over all ranks it
  /// is to be summed.
  Tensor part_squares() const;

  /// Joint norm of the gradients before clipping, a float32 scalar on the device; with `loss`, a
  /// scalar too, it decides what step() does. `part_squares` as above, of all ranks; undefined
  /// where there are no parts. Throws Error when there are no gradients.
  Tensor inspect(const Tensor& loss, const Tensor& part_squares = {});

  /// One update with the gradients as inspect() found them: scaled in place so that their joint
  /// norm is at most config.clip, and no update at all when the norm or the loss was not finite,
  /// now or at any call before. Parameters without a gradient are left alone.
  void step();

  /// The name of the first parameter whose gradient is not finite; empty when all are finite.
  std::string first_nonfinite_gradient() const;

  /// Parameters, both moments and the step count, named for a state file; loading copies into
  /// place. What is whole on every rank is without values on all but `is_first`.
  std::vector<TensorPart> state(bool is_first = true) const;
  /// Throws Error naming the tensor that is missing or has another shape.
  void load_state(const SafetensorsFile& file, const std::string& place);

 private:
  /// One that is trained, or a part of it.
  struct Item {
    TensorPart part;
    bool is_whole;
    Tensor parameter;  // has the gradient
    Tensor first_moment, second_moment, updates;
  };

  /// Those whose rates and decays are the same.
  struct Group {
    double share, weight_decay;  // share: of the schedule's rate
    Tensor rate;                 // a float32 scalar on the device
    std::vector<size_t> items;
  };

  void add_to_group(const std::string& name, size_t item);
  void update(const Group& group);

  static bool has_update(const Item& item);
  /// Those with a gradient.
  std::vector<const Item*> items_with_gradients() const;

  std::vector<Item> items_;
  std::vector<Group> groups_;
  OptimizerConfig config_;
  // float32 scalars on the device: what gradients are divided by, and 1 from the first norm or loss
  // on that was not finite.
  Tensor divisor_, is_stopped_;
};

}  // namespace hypenet
