// RMSNorm, with what stands beside it in a block: the residual sum before it, the sigmoid gate
// after it (docs/kernels.md, "Norms, RoPE and gates"). float32 inside.
#pragma once

#include "kernels/status.h"

namespace hypenet::kernels {

/// y = norm(x) * weight, or with delta: sum = x + delta, y = norm(sum) * weight, or with gate: y =
/// norm(x) * weight * sigmoid(gate), or silu(gate). Delta and gate do not come together.
struct RmsNormParams {
  const void* x;       // [rows, size]
  const void* delta;   // [rows, size], or null
  const void* gate;    // [rows, size], or null
  const void* weight;  // [size]
  void* sum;           // [rows, size] with delta, else null; y is the norm of the rounded sum
  void* y;             // [rows, size]
  float* inverse;      // [rows]: 1 / sqrt(mean(x^2) + eps) for backward, or null
  int64_t rows, size;
  DType type, weight_type;
  float eps;
  bool gates_by_silu = false;  // with gate
};

struct RmsNormBackwardParams {
  const void* x;         // [rows, size]: what was normalised, which is sum with delta
  const void* gate;      // [rows, size], or null
  const void* weight;    // [size]
  const float* inverse;  // [rows]
  const void* dy;        // [rows, size]
  const void* dsum;      // [rows, size]: joins dx, which is then that of x and of delta; or null
  void* dx;              // [rows, size]
  void* dgate;           // [rows, size] with gate, else null
  float* parts;          // [part_count, size]: shares of dweight, or null
  void* dweight;         // [size] in the weight's type; null when not wanted, as is parts
  int64_t rows, size;
  DType type, weight_type;
  int64_t part_count;
};

/// Rows begin .. end - 1, all float32, neither delta nor gate.
void rms_norm(const RmsNormParams& params, int64_t begin, int64_t end);

/// Rows begin .. end - 1, all float32, neither dsum nor gate; adds their share of the weight's
/// gradient to `part` [size], one of `parts`.
void rms_norm_backward(const RmsNormBackwardParams& params, int64_t begin, int64_t end,
                       float* part);

namespace cuda {

constexpr int64_t kMaxNormSize = 16384;  // a row is held in registers

Status rms_norm(const RmsNormParams& params, Stream stream);

/// How many parts of dweight the kernel leaves on the current device, for part_count.
int64_t rms_norm_backward_parts(const RmsNormBackwardParams& params);

Status rms_norm_backward(const RmsNormBackwardParams& params, Stream stream);

}  // namespace cuda
}  // namespace hypenet::kernels
