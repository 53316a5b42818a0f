// The model's gates, element by element in float32: silu(gate) * up, x * sigmoid(gate), and the
// decays of a gated recurrence.
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

/// y = rate softplus(z + bias) in rows of heads of `size` numbers, each head with a rate. float32,
/// on a CPU.
struct DecayGateParams {
  const float* z;     // [rows, heads, size]
  const float* rate;  // [heads]
  const float* bias;  // [heads, size]
  float* y;           // [rows, heads, size]
  int64_t heads, size;
};

/// Rows begin .. end - 1, whose numbers do not depend, bit for bit, on the other rows.
void decay_gate(const DecayGateParams& params, int64_t begin, int64_t end);

namespace cuda {

Status swiglu(const GateParams& params, Stream stream);
Status sigmoid_gate(const GateParams& params, Stream stream);
Status swiglu_backward(const GateBackwardParams& params, Stream stream);
Status sigmoid_gate_backward(const GateBackwardParams& params, Stream stream);

}  // namespace cuda
}  // namespace hypenet::kernels
