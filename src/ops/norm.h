// RMSNorm (specification 1): float32 inside, cast back, then the weight.
#pragma once

#include <torch/torch.h>

namespace hypenet {

using torch::Tensor;

/// x [..., n], weight [n]; returns x's type. Differentiable in both. Throws Error when the last
/// sizes differ.
Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps);

}  // namespace hypenet
