// What every device kernel takes and gives beside its params struct: a type, a stream, a status.
// No CUDA header: a stream's handle is an opaque pointer.
#pragma once

#include <cstdint>

namespace hypenet::kernels {

enum class DType : int32_t { kFloat32, kBFloat16 };

/// Where kernels are queued, without a wait.
struct Stream {
  void* handle = nullptr;  // a cudaStream_t; null is the default stream
  // True: what was queued since the last ordinary kernel (one that launch_early did not launch)
  // does not write what the next kernel finds in memory from steps before (states, keys and values
  // in pages, slots, positions): it may read them before the kernel ahead has ended.
  bool is_settled = false;
};

/// The result of queueing a kernel: null, or a static text that says what is wrong.
struct Status {
  const char* error = nullptr;
  bool ok() const { return error == nullptr; }
};

/// Whether this program was linked with the kernels of kernels/cuda.
bool has_cuda_kernels();

}  // namespace hypenet::kernels
