// The CPU form of linear_step: float32 rows against bfloat16 or float32 weights.
#pragma once

#include "ops/linear_step.h"

namespace hypenet {

/// Whether linear_step_cpu takes this input: all on the CPU, x, gate and residual float32, weights,
/// biases and the norm's weight each float32 or bfloat16.
bool suits_linear_step_cpu(const LinearStepInput& input);

/// linear_step of an input that was checked and suits. Every output is one sum over K in an order
/// that depends on K alone. One parallel region; for many rows one more ahead of it.
std::vector<Tensor> linear_step_cpu(const LinearStepInput& input);

}  // namespace hypenet
