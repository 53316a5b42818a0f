// A head's state stays in the cache while all rows of its slot pass by. Four of its rows are taken
// at once, so that the output is read and written a quarter as often.
#include "kernels/lightning_step.h"

#include <cmath>

#include "kernels/cpu/bfloat16.h"
#include "kernels/cpu/vectorize.h"

namespace hypenet::kernels {
namespace {

template <class W>
HYPENET_INLINE void norm_row(const float* x, const W* weight, int64_t size, float eps, float* y) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < size; ++i) sum += x[i] * x[i];
  const float inverse = 1.0F / std::sqrt(sum / static_cast<float>(size) + eps);
#pragma omp simd
  for (int64_t i = 0; i < size; ++i) y[i] = x[i] * inverse * wide(weight[i]);
}

/// A head of q or k, normed and rotated, times `scale`.
HYPENET_INLINE void prepare(const LightningStepParams& p, const float* x, const void* weight,
                            int64_t row, float scale, float* y) {
  const int64_t size = p.size, half = size / 2;
  if (weight == nullptr) {
    for (int64_t i = 0; i < size; ++i) y[i] = x[i];
  } else if (p.weight_type == DType::kBFloat16) {
    norm_row(x, static_cast<const BFloat16*>(weight), size, p.eps, y);
  } else {
    norm_row(x, static_cast<const float*>(weight), size, p.eps, y);
  }
  if (p.cos != nullptr) {
    const float* const cos = p.cos + row * p.position_row;
    const float* const sin = p.sin + row * p.position_row;
#pragma omp simd
    for (int64_t i = 0; i < half; ++i) {
      const float a = y[i], b = y[half + i];
      y[i] = a * cos[i] - b * sin[i];
      y[half + i] = b * cos[i] + a * sin[i];
    }
  }
#pragma omp simd
  for (int64_t i = 0; i < size; ++i) y[i] *= scale;
}

/// S <- gamma S + k^T v, o = q S.
HYPENET_INLINE void advance(const float* q, const float* k, const float* v, float gamma,
                            int64_t size, float* state, float* o) {
  for (int64_t j = 0; j < size; ++j) o[j] = 0;
  for (int64_t i = 0; i < size; i += 4) {
    float *const s0 = state + i * size, *const s1 = s0 + size;
    float *const s2 = s1 + size, *const s3 = s2 + size;
    const float k0 = k[i], k1 = k[i + 1], k2 = k[i + 2], k3 = k[i + 3];
    const float q0 = q[i], q1 = q[i + 1], q2 = q[i + 2], q3 = q[i + 3];
#pragma omp simd
    for (int64_t j = 0; j < size; ++j) {
      s0[j] = gamma * s0[j] + k0 * v[j];
      s1[j] = gamma * s1[j] + k1 * v[j];
      s2[j] = gamma * s2[j] + k2 * v[j];
      s3[j] = gamma * s3[j] + k3 * v[j];
      o[j] += (q0 * s0[j] + q1 * s1[j]) + (q2 * s2[j] + q3 * s3[j]);
    }
  }
}

}  // namespace

HYPENET_VECTORIZED
void lightning_step(const LightningStepParams& params, int64_t begin, int64_t end, float* scratch) {
  const int64_t size = params.size;
  float *const q = scratch, *const k = scratch + size;
  for (int64_t head = begin; head < end; ++head) {
    const int64_t key_head = head / (params.heads / params.key_heads);
    const float gamma = std::exp(-params.decay[head]);
    for (int64_t row = 0; row < params.rows; ++row) {
      float* const o = params.o + (row * params.heads + head) * size;
      const int64_t slot = params.slots != nullptr ? params.slots[row] : row;
      if (slot < 0) {
        for (int64_t j = 0; j < size; ++j) o[j] = 0;
        continue;
      }
      prepare(params, params.q + row * params.q_row + head * size, params.q_weight, row,
              params.scale, q);
      prepare(params, params.k + row * params.k_row + key_head * size, params.k_weight, row, 1, k);
      advance(q, k, params.v + row * params.v_row + key_head * size, gamma, size,
              params.state + (slot * params.heads + head) * size * size, o);
    }
  }
}

}  // namespace hypenet::kernels
