// The one seam between tensors and device kernels: which tensors suit them, on which stream they
// run, and what becomes of their status.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include <initializer_list>

#include "kernels/status.h"

namespace hypenet {

using torch::Tensor;

/// True when the program has device kernels and all defined tensors are CUDA tensors of one device,
/// of type bfloat16 or float32.
bool suits_cuda_kernels(std::initializer_list<Tensor> tensors);

/// The kernels' name of a tensor's type. Throws Error unless it is float32 or bfloat16.
kernels::DType kernel_type(const Tensor& x);

/// Whether x begins at a multiple of 16 bytes.
bool is_aligned(const Tensor& x);

/// x, or a copy of it, contiguous and at a multiple of 16 bytes, as kernels read it; undefined
/// stays undefined.
Tensor dense(const Tensor& x);

/// A tensor's elements; null when it is undefined.
const void* data_or_null(const Tensor& x);

/// A float32 tensor's elements; null when it is undefined or has none.
const float* floats_or_null(const Tensor& x);

/// The stream that work on x's device is queued on now, settled while a SettledStream lives.
kernels::Stream current_stream(const Tensor& x);

/// While it lives, this thread promises of what it queues what Stream::is_settled says
/// (kernels/status.h): as libtorch's current stream, a matter of threads.
class SettledStream {
 public:
  SettledStream();
  ~SettledStream();
  SettledStream(const SettledStream&) = delete;
  SettledStream& operator=(const SettledStream&) = delete;

 private:
  bool before_;
};

/// Throws Error "<place>: <what the kernel said>" unless the status is ok.
void throw_unless_ok(const char* place, kernels::Status status);

}  // namespace hypenet
