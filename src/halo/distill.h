// HALO stage 2, knowledge distillation: the whole student learns the teacher's next-token
// distribution.
#pragma once

#include "model/causal_lm.h"
#include "train/loop.h"

namespace hypenet {

/// Loss: KL(teacher || student) per token over the full vocabulary; neither model's [B, T, V]
/// logits are ever whole.
class DistillObjective : public Objective {
 public:
  DistillObjective(CausalLm teacher, CausalLm student);
  Tensor accumulate(const Batch& batch, double weight) override;
  std::string first_nonfinite(const Batch& batch) override;

 private:
  CausalLm teacher_, student_;
};

}  // namespace hypenet
