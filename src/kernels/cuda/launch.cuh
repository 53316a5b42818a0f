// What the .cu files share: the launch's status and the cast of the opaque stream.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include "kernels/status.h"

namespace hypenet::kernels {

inline cudaStream_t cuda_stream(Stream stream) { return static_cast<cudaStream_t>(stream.handle); }

inline Status status_of(cudaError_t error) {
  return {error == cudaSuccess ? nullptr : cudaGetErrorString(error)};
}

/// The status of the launch just made.
inline Status launch_status() { return status_of(cudaGetLastError()); }

/// In a kernel launched by launch_early: what stands after this sees all that earlier kernels
/// wrote.
__device__ __forceinline__ void wait_for_earlier_kernels() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

/// Blocks of the next kernel, if that is launched by launch_early, may take free places from now
/// on.
__device__ __forceinline__ void let_next_kernel_start() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

/// Launches a kernel that may start before the one before it has ended (programmatic dependent
/// launch, sm_90): what it does before wait_for_earlier_kernels() then costs no time of its own.
/// Worth it where a kernel takes microseconds. `shared_bytes` is of dynamic shared memory.
template <class... Parameters>
Status launch_early(void (*kernel)(Parameters...), dim3 blocks, dim3 threads, size_t shared_bytes,
                    Stream stream, const Parameters&... parameters) {
  int device = 0, major = 0;
  cudaError_t error = cudaGetDevice(&device);
  if (error == cudaSuccess) {
    error = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
  }
  // One division of a multiprocessor's memory for all: with another one, a kernel's blocks would
  // wait there until those of the kernel before are gone.
  if (error == cudaSuccess) {
    error = cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout,
                                 cudaSharedmemCarveoutMaxShared);
  }
  if (error != cudaSuccess) return status_of(error);
  cudaLaunchAttribute early{};
  early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  early.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = blocks;
  config.blockDim = threads;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = cuda_stream(stream);
  config.attrs = &early;
  config.numAttrs = major >= 9 ? 1 : 0;
  return status_of(cudaLaunchKernelEx(&config, kernel, parameters...));
}

/// The same without dynamic shared memory.
template <class... Parameters>
Status launch_early(void (*kernel)(Parameters...), dim3 blocks, dim3 threads, Stream stream,
                    const Parameters&... parameters) {
  return launch_early(kernel, blocks, threads, size_t{0}, stream, parameters...);
}

}  // namespace hypenet::kernels
