// What a CPU with vdpbf16ps makes of float32 rows that meet bfloat16 weights.
#pragma once

#include <torch/types.h>

#include "kernels/linear.h"

namespace hypenet {

/// Whether rows of this type are rounded to bfloat16 on this machine.
inline bool rounds_rows(torch::Device device, torch::ScalarType rows, torch::ScalarType weights) {
  return device.is_cpu() && rows == torch::kFloat32 && weights == torch::kBFloat16 &&
         kernels::packed_type(kernels::DType::kBFloat16) == kernels::DType::kBFloat16;
}

/// Norm and gate in float32 may put a number on the other side of the middle of two bfloat16 ones
/// than in float64.
inline constexpr double kRoundedRowsTolerance = 3e-4;

}  // namespace hypenet
