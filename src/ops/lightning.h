// Lightning attention (docs/kernels.md) is the linear recurrence of ops/recurrence.h with a fixed
// decay per head, no beta and no delta rule. This is its decay.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

namespace hypenet {

using torch::Tensor;

/// The decays of H heads, float32 [H], nats per token: the slopes m_h of ALiBi (arXiv 2108.12409),
/// the same in every layer.
Tensor lightning_decay(int64_t heads);

}  // namespace hypenet
