// Weights in memory that is read in order once a token: large pages save most of the address
// translation.
#pragma once

#include <torch/torch.h>

#include <span>

namespace hypenet {

/// Moves the data of the CPU tensors among these into one block that the system may back by large
/// pages, one tensor after the other, and gives what they held back to the system. A tensor keeps
/// its values, its identity and whether it wants gradients; views of it keep the old data. Linux
/// with transparent huge pages `madvise` or `always`: decode of 135M parameters gains 8 %
/// (docs/kernels.md, "CPU inference"); elsewhere only the place changes.
void move_to_large_pages(std::span<const torch::Tensor> tensors);

}  // namespace hypenet
