// Few rows against many weights on a CPU (docs/kernels.md, "CPU inference"): float32 rows, bfloat16
// or float32 weights, float32 sums whose order depends on the length of a row alone.
#pragma once

#include <cstdint>

#include "kernels/status.h"

namespace hypenet::kernels {

constexpr int64_t kLinearBlock = 32;  // numbers of a row taken in one step at most
constexpr int64_t kLinearUnit = 16;   // outputs of a task: a cache line of y

/// Floats of a packed row.
inline int64_t packed_size(int64_t size) {
  return (size + kLinearBlock - 1) / kLinearBlock * kLinearBlock;
}

struct PackRowsParams {
  const float* x;           // [rows, size]
  const void* norm_weight;  // [size], or null for no norm
  const float* gate;        // [rows, size], or null
  float* y;                 // [rows, packed_size(size)]
  int64_t size, x_row, gate_row;
  DType norm_type, weight_type;  // weight_type: of the weights that y will meet
  float eps;
};

/// Rows begin .. end - 1 of y = rms_norm(x) * norm_weight * sigmoid(gate) as `linear` reads them:
/// zeros up to a multiple of 32, and for bfloat16 weights the numbers of even place first in each
/// 32 (16, 8: as wide as the machine's registers are).
void pack_rows(const PackRowsParams& params, int64_t begin, int64_t end);

struct LinearParams {
  const float* x;      // [rows, packed_size(size)], by pack_rows
  const void* weight;  // [out, size]
  const void* bias;    // [out] of weight's type, or null
  float* y;            // [rows, out]
  int64_t rows, size, out, y_row;
  DType weight_type;
  bool adds;  // y += x W^T + bias, not y = it
};

/// Outputs begin .. end - 1 of all rows.
void linear(const LinearParams& params, int64_t begin, int64_t end);

}  // namespace hypenet::kernels
