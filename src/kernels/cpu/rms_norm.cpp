// A row is read from memory once; its second reading is served by the first-level cache.
#include "kernels/rms_norm.h"

#include <cmath>

#include "kernels/cpu/vectorize.h"

namespace hypenet::kernels {

HYPENET_VECTORIZED
void rms_norm(const RmsNormParams& params, int64_t begin, int64_t end) {
  const int64_t n = params.size;
  const auto* const weight = static_cast<const float*>(params.weight);
  for (int64_t row = begin; row < end; ++row) {
    const float* const x = static_cast<const float*>(params.x) + row * n;
    float* const y = static_cast<float*>(params.y) + row * n;
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; ++i) sum += x[i] * x[i];
    const float inverse = 1.0F / std::sqrt(sum / static_cast<float>(n) + params.eps);
    if (params.inverse != nullptr) params.inverse[row] = inverse;
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) y[i] = x[i] * inverse * weight[i];
  }
}

HYPENET_VECTORIZED
void rms_norm_backward(const RmsNormBackwardParams& params, int64_t begin, int64_t end,
                       float* dweight) {
  const int64_t n = params.size;
  const auto* const weight = static_cast<const float*>(params.weight);
  for (int64_t row = begin; row < end; ++row) {
    const float* const x = static_cast<const float*>(params.x) + row * n;
    const float* const dy = static_cast<const float*>(params.dy) + row * n;
    float* const dx = static_cast<float*>(params.dx) + row * n;
    const float inverse = params.inverse[row];
    float dot = 0;
#pragma omp simd reduction(+ : dot)
    for (int64_t i = 0; i < n; ++i) dot += dy[i] * weight[i] * x[i];
    const float along = dot * inverse * inverse / static_cast<float>(n);
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) {
      dx[i] = inverse * (dy[i] * weight[i] - along * x[i]);
      dweight[i] += dy[i] * x[i] * inverse;
    }
  }
}

}  // namespace hypenet::kernels
