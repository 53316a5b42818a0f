// A head's row of q or k in a decode step: normed, rotated and perhaps made of length 1 by one
// warp, into shared memory.
#pragma once

#include "kernels/cuda/pack.cuh"

namespace hypenet::kernels::cuda {

struct HeadRow {
  const void* x;       // [rows, d]
  const void* weight;  // [d], or null for no norm
  int64_t row;
};

/// What all rows of q and k share.
struct HeadRowForm {
  const float* cos;  // of the row's position, [d / 2], or null for no rotation
  const float* sin;
  DType weight_type;
  float eps;
};

/// What a lane needs beside x for its pairs: known before x is.
template <int d>
struct PairConstants {
  float weight_low[d / 64][1], weight_high[d / 64][1];

  __device__ PairConstants(const void* weight, DType type) {
#pragma unroll
    for (int j = 0; j < d / 64; ++j) {
      const int i = threadIdx.x % 32 + 32 * j;
      weight_low[j][0] = weight_high[j][0] = 1;
      if (weight == nullptr) continue;
      load_floats(weight, type, i, weight_low[j]);
      load_floats(weight, type, i + d / 2, weight_high[j]);
    }
  }
};

/// Of length 1: x / sqrt(sum(x^2) + this).
constexpr float kUnitEps = 1e-6F;

/// One warp: a row of T into out [d]; with kIsUnit, of length 1.
template <class T, int d, bool kIsUnit>
__device__ void prepare(const HeadRow& row, const PairConstants<d>& constants,
                        const HeadRowForm& form, float* out) {
  constexpr int kPairs = d / 64, kHalf = d / 2;
  const int lane = threadIdx.x % 32;
  const T* const x = static_cast<const T*>(row.x) + row.row * d;
  float a[kPairs], b[kPairs], cos[kPairs], sin[kPairs];
#pragma unroll
  for (int j = 0; j < kPairs; ++j) {
    cos[j] = form.cos != nullptr ? __ldcg(form.cos + lane + 32 * j) : 1;
    sin[j] = form.cos != nullptr ? __ldcg(form.sin + lane + 32 * j) : 0;
    a[j] = static_cast<float>(__ldcg(x + lane + 32 * j));  // as load_pack
    b[j] = static_cast<float>(__ldcg(x + lane + 32 * j + kHalf));
  }
  if (row.weight != nullptr) {
    float squares = 0;
#pragma unroll
    for (int j = 0; j < kPairs; ++j) squares += a[j] * a[j] + b[j] * b[j];
    const float inverse = rsqrtf(lanes_sum(squares, 32) / d + form.eps);
#pragma unroll
    for (int j = 0; j < kPairs; ++j) {
      a[j] *= inverse * constants.weight_low[j][0];
      b[j] *= inverse * constants.weight_high[j][0];
    }
  }
  float factor = 1, squares = 0;
  if (kIsUnit) {  // turning changes no length
#pragma unroll
    for (int j = 0; j < kPairs; ++j) squares += a[j] * a[j] + b[j] * b[j];
    factor = rsqrtf(lanes_sum(squares, 32) + kUnitEps);
  }
#pragma unroll
  for (int j = 0; j < kPairs; ++j) {
    const int i = lane + 32 * j;
    const float low = a[j] * factor, high = b[j] * factor;
    out[i] = low * cos[j] - high * sin[j];
    out[i + kHalf] = high * cos[j] + low * sin[j];
  }
}

}  // namespace hypenet::kernels::cuda
