// Rows against weights on a CPU (docs/kernels.md, "CPU inference"): float32 rows, or bfloat16 ones
// for bfloat16 weights; float32 sums whose order depends on the length of a row alone.
#pragma once

#include <cstdint>

#include "kernels/status.h"

namespace hypenet::kernels {

constexpr int64_t kLinearBlock = 32;  // numbers of a row taken in one step at most
constexpr int64_t kLinearUnit = 16;   // outputs of a task: a cache line of y

/// Numbers of a packed row.
inline int64_t packed_size(int64_t size) {
  return (size + kLinearBlock - 1) / kLinearBlock * kLinearBlock;
}

/// The type of packed rows that meet weights of this type: bfloat16 for bfloat16 ones where the
/// machine has the instruction for both, else float32.
DType packed_type(DType weight_type);

struct PackRowsParams {
  const float* x;           // [rows, size]
  const void* norm_weight;  // [size], or null for no norm
  const float* gate;        // [rows, size], or null
  void* y;                  // [rows, packed_size(size)] of y_type
  int64_t size, x_row, gate_row;
  DType norm_type, weight_type, y_type;  // weight_type: of the weights that y will meet
  float eps;
};

/// Rows begin .. end - 1 of y = rms_norm(x) * norm_weight * sigmoid(gate) as `linear` reads them:
/// zeros up to a multiple of 32, and float32 ones for bfloat16 weights with the numbers of even
/// place first in each 32 (16, 8: as wide as the machine's registers are).
void pack_rows(const PackRowsParams& params, int64_t begin, int64_t end);

struct LinearParams {
  const void* x;       // [rows, packed_size(size)] of x_type, by pack_rows
  const void* weight;  // [out, size]
  const void* bias;    // [out] of weight's type, or null
  float* y;            // [rows, out]
  int64_t rows, size, out, y_row;
  DType x_type, weight_type;
  bool adds;  // y += x W^T + bias, not y = it
};

/// Outputs begin .. end - 1 of all rows. bfloat16 rows meet bfloat16 weights only, where
/// packed_type asks for them.
void linear(const LinearParams& params, int64_t begin, int64_t end);

}  // namespace hypenet::kernels
