// The model's gates, element by element in float32: silu(gate) * up, and x * sigmoid(gate).
#pragma once

#include "kernels/status.h"

namespace hypenet::kernels {

/// Tensors are of one type, float32 on a CPU.
struct GateParams {
  const void* x;     // what is gated: up, or the mixer's output
  const void* gate;  // like x
  void* y;
  int64_t count;  // elements of each
  DType type;
};

struct GateBackwardParams {
  const void* x;
  const void* gate;
  const void* dy;
  void* dx;
  void* dgate;
  int64_t count;
  DType type;
};

/// Elements begin .. end - 1.
void swiglu(const GateParams& params, int64_t begin, int64_t end);
void sigmoid_gate(const GateParams& params, int64_t begin, int64_t end);
void swiglu_backward(const GateBackwardParams& params, int64_t begin, int64_t end);
void sigmoid_gate_backward(const GateBackwardParams& params, int64_t begin, int64_t end);

namespace cuda {

Status swiglu(const GateParams& params, Stream stream);
Status sigmoid_gate(const GateParams& params, Stream stream);
Status swiglu_backward(const GateBackwardParams& params, Stream stream);
Status sigmoid_gate_backward(const GateBackwardParams& params, Stream stream);

}  // namespace cuda
}  // namespace hypenet::kernels
