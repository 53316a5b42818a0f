// Mean squared error and its gradient in one pass.
#pragma once

#include <cstdint>

#include "kernels/status.h"

namespace hypenet::kernels::cuda {

constexpr int64_t kSquaredErrorParts = 528;  // four blocks for each multiprocessor of an H200

struct MeanSquaredErrorParams {
  const void* output = nullptr;    // [count] of `type`
  const void* expected = nullptr;  // [count]
  void* gradient = nullptr;        // [count], written: scale * (output - expected)
  float* parts = nullptr;          // [kSquaredErrorParts], written; their sum is the mean
  int64_t count = 0;
  float scale = 1;
  DType type = DType::kBFloat16;
};

Status mean_squared_error(const MeanSquaredErrorParams& params, Stream stream);

}  // namespace hypenet::kernels::cuda
