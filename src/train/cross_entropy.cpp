// Cross-entropy through the piecewise loss.
#include "train/cross_entropy.h"

#include "model/nonfinite.h"
#include "train/losses.h"

namespace hypenet {

Tensor CrossEntropyObjective::accumulate(const Batch& batch, double weight) {
  const Tensor hidden = model_->hidden(batch.ids).flatten(0, 1);
  const LossGradient result =
      linear_cross_entropy(hidden, model_->head(), batch.targets.flatten(), {.factor = weight});
  hidden.backward(result.hidden_gradient);
  return result.loss;
}

std::string CrossEntropyObjective::first_nonfinite(const Batch& batch) {
  return first_nonfinite_layer(model_, batch.ids);
}

}  // namespace hypenet
