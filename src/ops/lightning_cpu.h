// The chunked form by the kernels of kernels/cpu, one (row, head) pair a task.
#pragma once

#include "ops/lightning.h"

namespace hypenet {

/// True for float32 tensors on the CPU with a head size that is a multiple of 16.
bool suits_lightning_cpu(const LightningInput& input);

/// As lightning_chunked, for inputs that suit; the chunk length is the kernels' own.
LightningOutput lightning_cpu(const LightningInput& input);

}  // namespace hypenet
