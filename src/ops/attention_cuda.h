// Fused softmax attention on a GPU: cuDNN's or flash, both libtorch's.
#pragma once

#include <torch/torch.h>

#include "ops/attention.h"

namespace hypenet {

/// True for bfloat16 tensors on a GPU of a head size that the fused kernels take.
bool suits_fused_attention(const Tensor& q, const Tensor& k, const Tensor& v);

/// causal_attention without padding, for tensors that suit. Differentiable; never waits for the
/// device.
Tensor fused_attention(const Tensor& q, const Tensor& k, const Tensor& v, AttentionBackend backend);

}  // namespace hypenet
