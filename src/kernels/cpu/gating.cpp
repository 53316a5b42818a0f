// Forward and backward of each gate in one pass over its elements.
#include "kernels/gating.h"

#include "kernels/cpu/exponential.h"
#include "kernels/cpu/vectorize.h"

namespace hypenet::kernels {

HYPENET_VECTORIZED
void swiglu_forward(const GateParams &params, int64_t begin, int64_t end) {
  const float *const up = params.x, *const gate = params.gate;
  float *const y = params.y;
#pragma omp simd
  for (int64_t i = begin; i < end; ++i) y[i] = gate[i] * sigmoid(gate[i]) * up[i];
}

HYPENET_VECTORIZED
void swiglu_backward(const GateBackwardParams &params, int64_t begin, int64_t end) {
  const float *const up = params.x, *const gate = params.gate, *const dy = params.dy;
  float *const dup = params.dx, *const dgate = params.dgate;
#pragma omp simd
  for (int64_t i = begin; i < end; ++i) {
    const float s = sigmoid(gate[i]);
    dup[i] = dy[i] * gate[i] * s;
    dgate[i] = dy[i] * up[i] * s * (1.0F + gate[i] * (1.0F - s));
  }
}

HYPENET_VECTORIZED
void sigmoid_gate_forward(const GateParams &params, int64_t begin, int64_t end) {
  const float *const x = params.x, *const gate = params.gate;
  float *const y = params.y;
#pragma omp simd
  for (int64_t i = begin; i < end; ++i) y[i] = x[i] * sigmoid(gate[i]);
}

HYPENET_VECTORIZED
void sigmoid_gate_backward(const GateBackwardParams &params, int64_t begin, int64_t end) {
  const float *const x = params.x, *const gate = params.gate, *const dy = params.dy;
  float *const dx = params.dx, *const dgate = params.dgate;
#pragma omp simd
  for (int64_t i = begin; i < end; ++i) {
    const float s = sigmoid(gate[i]);
    dx[i] = dy[i] * s;
    dgate[i] = dy[i] * x[i] * s * (1.0F - s);
  }
}

}  // namespace hypenet::kernels
