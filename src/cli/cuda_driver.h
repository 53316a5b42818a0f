// What NVIDIA's driver says of itself and its GPUs, without CUDA's headers and libraries: the
// driver's own library is opened where there is one.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace hypenet {

struct Gpu {
  std::string name = {};
  int64_t bytes = 0;
  int major = 0, minor = 0;  // compute capability
};

struct CudaDriver {
  bool is_there = false;  // its library could be opened
  int version = 0;        // the newest CUDA that it runs: 13000 is 13.0
  std::vector<Gpu> gpus = {};
  std::string fault = {};  // what failed; empty: nothing
};

/// `library`: "libcuda.so.1", or a test's.
CudaDriver find_cuda_driver(const char* library = "libcuda.so.1");

}  // namespace hypenet
