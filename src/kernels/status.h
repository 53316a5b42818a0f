// What every device kernel takes and gives beside its params struct: a type, a stream, a status.
// No CUDA header: the stream is an opaque pointer.
#pragma once

#include <cstdint>

namespace hypenet::kernels {

enum class DType : int32_t { kFloat32, kBFloat16 };

/// A cudaStream_t; null is the default stream. Kernels are queued on it and do not wait.
using Stream = void*;

/// The result of queueing a kernel: null, or a static text that says what is wrong.
struct Status {
  const char* error = nullptr;
  bool ok() const { return error == nullptr; }
};

/// Whether this program was linked with the kernels of kernels/cuda.
bool has_cuda_kernels();

}  // namespace hypenet::kernels
