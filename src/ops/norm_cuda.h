// The norms of ops/norm.h by the kernels of kernels/cuda: one pass forward, one backward.
#pragma once

#include "ops/norm.h"

namespace hypenet {

/// True for tensors that the kernels take, the first of which holds rows of at most 16384.
bool suits_norm_cuda(std::initializer_list<Tensor> tensors);

/// As rms_norm, add_rms_norm and gated_rms_norm, for tensors that suit.
Tensor rms_norm_cuda(const Tensor& x, const Tensor& weight, double eps);
SumAndNorm add_rms_norm_cuda(const Tensor& x, const Tensor& delta, const Tensor& weight,
                             double eps);
Tensor gated_rms_norm_cuda(const Tensor& x, const Tensor& weight, const Tensor& gate, double eps);

}  // namespace hypenet
