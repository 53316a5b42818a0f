// The second half of a sum over many rows: blocks leave one part each, these are added up in a
// fixed order, so that the result does not vary from run to run.
#pragma once

#include "kernels/status.h"

namespace hypenet::kernels::cuda {

struct SumPartsParams {
  const float* parts;  // [count, size]
  void* out;           // [size]
  int64_t count, size;
  DType type;  // of out
};

Status sum_parts(const SumPartsParams& params, Stream stream);

}  // namespace hypenet::kernels::cuda
