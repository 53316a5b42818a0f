// Next-token cross-entropy on a whole model: the objective of hypenet train and of HALO's stage 3.
#pragma once

#include "model/causal_lm.h"
#include "train/loop.h"

namespace hypenet {

class CrossEntropyObjective : public Objective {
 public:
  explicit CrossEntropyObjective(CausalLm model) : model_(std::move(model)) {}
  Tensor accumulate(const Batch& batch, double weight) override;
  std::string loss_name() const override { return "cross-entropy"; }
  std::string first_nonfinite(const Batch& batch) override;

 private:
  CausalLm model_;
};

}  // namespace hypenet
