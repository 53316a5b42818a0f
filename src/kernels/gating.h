// The model's gates, element by element in float32: silu(gate) * up, and x * sigmoid(gate).
#pragma once

#include <cstdint>

namespace hypenet::kernels {

struct GateParams {
  const float* x;  // what is gated: up, or the mixer's output
  const float* gate;
  float* y;
};

/// Elements begin .. end - 1.
void swiglu_forward(const GateParams& params, int64_t begin, int64_t end);
void sigmoid_gate_forward(const GateParams& params, int64_t begin, int64_t end);

struct GateBackwardParams {
  const float* x;
  const float* gate;
  const float* dy;
  float* dx;
  float* dgate;
};

void swiglu_backward(const GateBackwardParams& params, int64_t begin, int64_t end);
void sigmoid_gate_backward(const GateBackwardParams& params, int64_t begin, int64_t end);

}  // namespace hypenet::kernels
