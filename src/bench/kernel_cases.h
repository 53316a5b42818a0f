// What `hypenet bench kernels` times: each kernel at its sizes, with the least work it can be.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include <functional>
#include <string>
#include <vector>

namespace hypenet {

using torch::Tensor;

/// Floating-point operations (a product and its addition are two) and bytes of one call. Bytes
/// count every input and output once forward, and again what backward must read and write; weights
/// of norms do not count. FLOPs of elementwise work do not count.
struct KernelWork {
  double flops = 0, bytes = 0;
};

/// Queues one call on inputs of its own and returns its outputs; whoever keeps them decides how
/// much memory the outputs go round in.
using KernelCall = std::function<std::vector<Tensor>()>;

struct KernelCase {
  std::string name, shape;
  KernelWork work;
  std::function<KernelCall()> make;  // with fresh random inputs
};

struct KernelSizes {
  torch::Device device = torch::kCPU;
  bool is_quick = false;  // few tokens, rows and words, so that a CPU is through in seconds

  torch::ScalarType type() const { return device.is_cuda() ? torch::kBFloat16 : torch::kFloat32; }
};

/// The ceilings: a matrix product, then a copy, and on a CPU then a read alone.
std::vector<KernelCase> ceiling_cases(const KernelSizes& sizes);

/// The kernels, forward and forward + backward as cases of their own.
std::vector<KernelCase> kernel_cases(const KernelSizes& sizes);

}  // namespace hypenet
