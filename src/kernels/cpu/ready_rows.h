// Rows of x after norm and gate, a piece at a time: what the forms of packed rows begin with.
#pragma once

#include <cmath>

#include "kernels/cpu/bfloat16.h"
#include "kernels/cpu/exponential.h"
#include "kernels/linear.h"

namespace hypenet::kernels {

HYPENET_INLINE float inverse_rms(const float* x, int64_t size, float eps) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < size; ++i) sum += x[i] * x[i];
  return 1.0F / std::sqrt(sum / static_cast<float>(size) + eps);
}

template <class W>
HYPENET_INLINE void scale(const float* x, const W* weight, float factor, int64_t count, float* y) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) y[i] = x[i] * factor * wide(weight[i]);
}

/// `count` numbers of a row from `first` on, after norm and gate.
HYPENET_INLINE void ready_piece(const PackRowsParams& p, int64_t row, int64_t first, int64_t count,
                                float factor, float* y) {
  const float* const x = p.x + row * p.x_row + first;
  if (p.norm_weight == nullptr) {
    for (int64_t i = 0; i < count; ++i) y[i] = x[i];
  } else if (p.norm_type == DType::kBFloat16) {
    scale(x, static_cast<const BFloat16*>(p.norm_weight) + first, factor, count, y);
  } else {
    scale(x, static_cast<const float*>(p.norm_weight) + first, factor, count, y);
  }
  if (p.gate == nullptr) return;
  const float* const gate = p.gate + row * p.gate_row + first;
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) y[i] *= sigmoid(gate[i]);
}

/// The factor of a row's norm; 1 where there is none.
HYPENET_INLINE float norm_factor(const PackRowsParams& p, int64_t row) {
  return p.norm_weight == nullptr ? 1.0F : inverse_rms(p.x + row * p.x_row, p.size, p.eps);
}

}  // namespace hypenet::kernels
