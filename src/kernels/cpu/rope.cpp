// The two halves of a head are rotated side by side.
#include "kernels/rope.h"

#include "kernels/cpu/vectorize.h"

namespace hypenet::kernels {

HYPENET_VECTORIZED
void rope(const RopeParams& params, int64_t begin, int64_t end) {
  const int64_t half = params.size / 2;
  const float direction = params.direction;
  for (int64_t row = begin * params.heads; row < end * params.heads; ++row) {
    const int64_t position = row / params.heads % params.positions;
    const float* const cos = params.cos + position * half;
    const float* const sin = params.sin + position * half;
    const float* const x = static_cast<const float*>(params.x) + row * 2 * half;
    float* const y = static_cast<float*>(params.y) + row * 2 * half;
#pragma omp simd
    for (int64_t i = 0; i < half; ++i) {
      const float a = x[i], b = x[half + i], s = direction * sin[i];
      y[i] = a * cos[i] - b * s;
      y[half + i] = b * cos[i] + a * s;
    }
  }
}

}  // namespace hypenet::kernels
