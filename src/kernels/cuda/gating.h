// The model's gates on the GPU: silu(gate) * up, and x * sigmoid(gate); float32 inside.
#pragma once

#include "kernels/status.h"

namespace hypenet::kernels::cuda {

struct GateParams {
  const void* x;     // what is gated: up, or the mixer's output
  const void* gate;  // like x
  void* y;
  int64_t count;  // elements of each
  DType type;
};

Status swiglu(const GateParams& params, Stream stream);
Status sigmoid_gate(const GateParams& params, Stream stream);

struct GateBackwardParams {
  const void* x;
  const void* gate;
  const void* dy;
  void* dx;
  void* dgate;
  int64_t count;
  DType type;
};

Status swiglu_backward(const GateBackwardParams& params, Stream stream);
Status sigmoid_gate_backward(const GateBackwardParams& params, Stream stream);

}  // namespace hypenet::kernels::cuda
