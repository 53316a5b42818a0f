// KL between the next-token distributions of two models, from their final hidden states.
#pragma once

#include "model/causal_lm.h"

namespace hypenet {

/// Sum over positions of KL(teacher || student) in nats, full vocabulary, float32. Hidden states
/// [..., D] after the last norm, of the same positions; logits exist a piece of positions at a
/// time.
double kl_sum(CausalLm& teacher, const Tensor& teacher_hidden, CausalLm& student,
              const Tensor& student_hidden);

}  // namespace hypenet
