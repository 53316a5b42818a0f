// Attention of a step by the kernels of kernels/cpu: float32 rows, a cache of float32 or bfloat16.
#pragma once

#include "ops/attention_step.h"

namespace hypenet {

/// Whether attention_step_cpu takes this input, whose shapes were checked: the head size is a
/// multiple of 16.
bool suits_attention_step_cpu(const AttentionStepInput& input);

/// attention_step, [N, H d]. Rows of one slot that stand together read each key from memory once.
/// Throws Error when a slot or a position is beyond the page table.
Tensor attention_step_cpu(const AttentionStepInput& input);

}  // namespace hypenet
