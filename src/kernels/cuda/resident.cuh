// How many blocks of a kernel the current device holds at once.
#pragma once

#include <algorithm>

#include "kernels/cuda/launch.cuh"

namespace hypenet::kernels::cuda {

/// Blocks for a kernel whose blocks stay and take work in turn: as many as fit, at most `wanted`,
/// at least one.
template <class Kernel>
int64_t resident_blocks(Kernel kernel, int threads, size_t shared_bytes, int64_t wanted) {
  int device = 0, processors = 0, blocks = 0;
  cudaGetDevice(&device);
  cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device);
  cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel, threads, shared_bytes);
  return std::max<int64_t>(1, std::min<int64_t>(wanted, int64_t{processors} * blocks));
}

}  // namespace hypenet::kernels::cuda
