// Attention of a step by the kernels of kernels/cuda: bfloat16 rows and cache.
#pragma once

#include "ops/attention_step.h"

namespace hypenet {

/// Whether attention_step_cuda takes this input, whose shapes were checked: bfloat16 on a GPU, head
/// sizes 64 and 128, at most 16 query heads a key head.
bool suits_attention_step_cuda(const AttentionStepInput& input);

/// attention_step, [N, H d]; two kernels.
Tensor attention_step_cuda(const AttentionStepInput& input);

}  // namespace hypenet
