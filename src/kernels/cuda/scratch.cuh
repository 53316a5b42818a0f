// Scratch memory cut into pieces, and what the current device can hold: for kernels that leave
// arrays to each other.
#pragma once

#include "kernels/cuda/launch.cuh"

namespace hypenet::kernels::cuda {

/// Cuts memory into pieces that start at multiples of 256 bytes; with a null base it only counts.
class Cutter {
 public:
  explicit Cutter(void* base) : base_(static_cast<char*>(base)) {}
  template <class T = char>
  T* take(int64_t bytes) {
    T* const piece = reinterpret_cast<T*>(base_ + bytes_);
    bytes_ += (bytes + 255) / 256 * 256;
    return piece;
  }
  int64_t bytes() const { return bytes_; }

 private:
  char* base_;
  int64_t bytes_ = 0;
};

/// Of the current device; 0 without one.
inline int64_t device_attribute(cudaDeviceAttr name) {
  int device = 0, value = 0;
  if (cudaGetDevice(&device) != cudaSuccess) return 0;
  if (cudaDeviceGetAttribute(&value, name, device) != cudaSuccess) return 0;
  return value;
}

/// Bytes of shared memory that a block may have, and multiprocessors.
inline int64_t shared_of_block() {
  return device_attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin);
}
inline int64_t processors_of_device() { return device_attribute(cudaDevAttrMultiProcessorCount); }

}  // namespace hypenet::kernels::cuda
