// HALO stage 1, hidden-state alignment: each twin learns to give its teacher layer's output on the
// teacher's own input.
#pragma once

#include "model/causal_lm.h"
#include "train/loop.h"

namespace hypenet {

/// Loss: mean over layers of MSE(teacher mixer output, twin output). One pass over the teacher;
/// each layer's graph is freed before the next one's begins, so memory is that of one layer.
class AlignObjective : public Objective {
 public:
  /// `twins` is the all-recurrent model of transfer_weights; of its parameters only the mixers'
  /// keep requires_grad.
  AlignObjective(CausalLm teacher, CausalLm twins);
  Tensor accumulate(const Batch& batch, double weight) override;
  std::string loss_name() const override { return "squared error"; }
  std::string first_nonfinite(const Batch& batch) override;

 private:
  /// What the twin of a layer gives for the teacher's mixer input [B, T, D], with its graph.
  Tensor twin_output(int64_t layer, const Tensor& input, const Context& context);

  CausalLm teacher_, twins_;
};

}  // namespace hypenet
