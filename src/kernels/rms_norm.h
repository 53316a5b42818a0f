// RMSNorm on rows of float32: y = x / sqrt(mean(x^2) + eps) * weight.
#pragma once

#include <cstdint>

namespace hypenet::kernels {

struct RmsNormParams {
  const float* x;       // [rows, size]
  const float* weight;  // [size]
  float* y;             // [rows, size]
  float* inverse;       // [rows]: 1 / sqrt(mean(x^2) + eps), for backward
  int64_t size;
  float eps;
};

/// Rows begin .. end - 1.
void rms_norm_forward(const RmsNormParams& params, int64_t begin, int64_t end);

struct RmsNormBackwardParams {
  const float* x;        // [rows, size]
  const float* weight;   // [size]
  const float* inverse;  // [rows]
  const float* dy;       // [rows, size]
  float* dx;             // [rows, size]
  int64_t size;
};

/// Rows begin .. end - 1; adds their share of the weight's gradient to dweight [size].
void rms_norm_backward(const RmsNormBackwardParams& params, int64_t begin, int64_t end,
                       float* dweight);

}  // namespace hypenet::kernels
