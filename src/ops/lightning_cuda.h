// The chunked form by the kernel of kernels/cuda: one launch forward, one backward.
#pragma once

#include "ops/recurrence.h"

namespace hypenet {

/// True for bfloat16 tensors on a CUDA device that has a kernel for their head size (64 or 128),
/// with a scale that is not zero.
bool suits_lightning_cuda(const Recurrence& input);

/// As recurrence_chunked, for inputs that suit. Products are of bfloat16 factors (also the state
/// and the decayed keys'), sums and states float32.
RecurrenceOutput lightning_cuda(const Recurrence& input);

}  // namespace hypenet
