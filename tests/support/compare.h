// How far a result is from its definition in float64, and where tests of several devices run.
#pragma once

#include <ATen/Context.h>
#include <torch/cuda.h>
#include <torch/types.h>
#include <torch/utils.h>

#include "ops/stream.h"

namespace hypenet {

/// RMS(found - expected) / RMS(expected); NaN when found has any, so compare with EXPECT_LT.
inline double relative_rms(const torch::Tensor& found, const torch::Tensor& expected) {
  const torch::Tensor wide = expected.detach().to(torch::kCPU, torch::kFloat64);
  const torch::Tensor error = found.detach().to(torch::kCPU, torch::kFloat64) - wide;
  return (error.norm() / wide.norm().clamp_min(1e-30)).item<double>();
}

/// Whether this program has device kernels and a GPU to run them on.
inline bool has_gpu() { return kernels::has_cuda_kernels() && torch::cuda::is_available(); }

/// While it lives, fresh tensors are full of NaN, so that what a kernel leaves unwritten shows.
class NanFilledMemory {
 public:
  NanFilledMemory() { at::globalContext().setDeterministicAlgorithms(true, /*warn_only=*/true); }
  ~NanFilledMemory() { at::globalContext().setDeterministicAlgorithms(false, false); }
  NanFilledMemory(const NanFilledMemory&) = delete;
  NanFilledMemory& operator=(const NanFilledMemory&) = delete;
};

}  // namespace hypenet

#define HYPENET_SKIP_WITHOUT_GPU() \
  if (!hypenet::has_gpu()) GTEST_SKIP() << "no GPU, or a program without device kernels"
