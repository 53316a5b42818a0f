// The CPU form of linear_step: float32 rows against bfloat16 or float32 weights.
#pragma once

#include "ops/linear_step.h"

namespace hypenet {

/// linear_step of an input that was checked and that form_of sends here. Every output is one sum
/// over K in an order that depends on K alone. One parallel region; for many rows one more ahead of
/// it.
std::vector<Tensor> linear_step_cpu(const LinearStepInput& input);

}  // namespace hypenet
