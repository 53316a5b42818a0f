// The rotations of ops/rope.h by the kernels of kernels/cuda, one pass each.
#pragma once

#include "ops/rope.h"

namespace hypenet {

/// True for x [B, T, heads, d] with d <= 256 that the kernels take, and float32 angles beside it.
bool suits_rope_cuda(const Tensor& x, const RopeAngles& angles);

/// x rotated by the angles times `direction`, which is 1 or -1; no autograd.
Tensor rope_cuda(const Tensor& x, const RopeAngles& angles, double direction);

/// As norm_rope, for tensors that suit.
Tensor norm_rope_cuda(const Tensor& x, const Tensor& weight, double eps, const RopeAngles& angles);

}  // namespace hypenet
