// What the .cu files share: the launch's status and the cast of the opaque stream.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include "kernels/status.h"

namespace hypenet::kernels {

inline cudaStream_t cuda_stream(Stream stream) { return static_cast<cudaStream_t>(stream); }

inline Status status_of(cudaError_t error) {
  return {error == cudaSuccess ? nullptr : cudaGetErrorString(error)};
}

/// The status of the launch just made.
inline Status launch_status() { return status_of(cudaGetLastError()); }

}  // namespace hypenet::kernels
