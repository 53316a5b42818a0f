// Seconds of a kernel, and what the device that runs it reaches at most: floors compare with that,
// never with the rates of another machine.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include <functional>
#include <string>

#include "bench/kernel_cases.h"

namespace hypenet {

struct KernelTime {
  std::string kernel, shape;
  KernelWork work;
  double seconds = 0;

  double flops() const { return work.flops / seconds; }      // a second
  double bandwidth() const { return work.bytes / seconds; }  // bytes a second
};

/// The time of a call: on a GPU the median of seven, each of two replays of a CUDA graph of about 4
/// ms whose calls go round sets of inputs and outputs of more than 200 MB; on a CPU the median of
/// seven calls. `check_stop` is called in between, and may throw.
KernelTime measure(
    const KernelCase& kernel, const KernelSizes& sizes,
    const std::function<void()>& check_stop = [] {});

/// A product of two matrices n x n of this type and device.
KernelCase product_case(int64_t n, const torch::TensorOptions& options);

/// A copy by a kernel: of 2^30 elements on a GPU, of 2^22 on a CPU.
KernelCase copy_case(const torch::TensorOptions& options);

/// FLOP a second of a large product of this type, measured now. Memory that it took on a GPU is
/// given back, and peaks of memory count anew. Under a second.
double product_rate(torch::Device device, torch::ScalarType type);

/// Bytes a second that memory gives, measured now: on a GPU those of a copy, read and written, on a
/// CPU those of a read by all threads. Memory and peaks as above. Under a second on a GPU.
double memory_rate(torch::Device device);

}  // namespace hypenet
