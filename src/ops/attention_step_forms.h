// The kernels' forms of attention_step, of inputs that were checked and that form_of sends there.
#pragma once

#include "ops/attention_step.h"

namespace hypenet {

/// By kernels/cuda, two kernels: [N, H d].
Tensor attention_step_cuda(const AttentionStepInput& input);

/// By kernels/cpu, [N, H d]. Rows of one slot that stand together read each key from memory once.
/// Throws Error when a slot or a position is beyond the page table.
Tensor attention_step_cpu(const AttentionStepInput& input);

}  // namespace hypenet
