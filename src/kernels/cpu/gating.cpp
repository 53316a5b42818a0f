// Forward and backward of each gate in one pass over its elements; of decays forward alone.
#include "kernels/gating.h"

#include "kernels/cpu/exponential.h"
#include "kernels/cpu/vectorize.h"

namespace hypenet::kernels {

HYPENET_VECTORIZED
void swiglu(const GateParams &params, int64_t begin, int64_t end) {
  const auto *const up = static_cast<const float *>(params.x);
  const auto *const gate = static_cast<const float *>(params.gate);
  auto *const y = static_cast<float *>(params.y);
#pragma omp simd
  for (int64_t i = begin; i < end; ++i) y[i] = gate[i] * sigmoid(gate[i]) * up[i];
}

HYPENET_VECTORIZED
void swiglu_backward(const GateBackwardParams &params, int64_t begin, int64_t end) {
  const auto *const up = static_cast<const float *>(params.x);
  const auto *const gate = static_cast<const float *>(params.gate);
  const auto *const dy = static_cast<const float *>(params.dy);
  auto *const dup = static_cast<float *>(params.dx);
  auto *const dgate = static_cast<float *>(params.dgate);
#pragma omp simd
  for (int64_t i = begin; i < end; ++i) {
    const float s = sigmoid(gate[i]);
    dup[i] = dy[i] * gate[i] * s;
    dgate[i] = dy[i] * up[i] * s * (1.0F + gate[i] * (1.0F - s));
  }
}

HYPENET_VECTORIZED
void sigmoid_gate(const GateParams &params, int64_t begin, int64_t end) {
  const auto *const x = static_cast<const float *>(params.x);
  const auto *const gate = static_cast<const float *>(params.gate);
  auto *const y = static_cast<float *>(params.y);
#pragma omp simd
  for (int64_t i = begin; i < end; ++i) y[i] = x[i] * sigmoid(gate[i]);
}

HYPENET_VECTORIZED
void sigmoid_gate_backward(const GateBackwardParams &params, int64_t begin, int64_t end) {
  const auto *const x = static_cast<const float *>(params.x);
  const auto *const gate = static_cast<const float *>(params.gate);
  const auto *const dy = static_cast<const float *>(params.dy);
  auto *const dx = static_cast<float *>(params.dx);
  auto *const dgate = static_cast<float *>(params.dgate);
#pragma omp simd
  for (int64_t i = begin; i < end; ++i) {
    const float s = sigmoid(gate[i]);
    dx[i] = dy[i] * s;
    dgate[i] = dy[i] * x[i] * s * (1.0F - s);
  }
}

HYPENET_VECTORIZED
void decay_gate(const DecayGateParams &params, int64_t begin, int64_t end) {
  const int64_t heads = params.heads, size = params.size;
  for (int64_t i = begin * heads; i < end * heads; ++i) {
    const int64_t head = i % heads;
    const float rate = params.rate[head];
    const float *const z = params.z + i * size, *const bias = params.bias + head * size;
    float *const y = params.y + i * size;
#pragma omp simd
    for (int64_t c = 0; c < size; ++c) y[c] = rate * softplus(z[c] + bias[c]);
  }
}

}  // namespace hypenet::kernels
