// One decoded token through Mamba-2's recurrence, from the convolution to the output gate
// (docs/kernels.md, "One step").
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include <array>

#include "ops/rope.h"

namespace hypenet {

using torch::Tensor;

/// H heads with a state of N x P. x, B and C have heads of their own numbers, divisors of H, each
/// repeated in place.
struct Mamba2StepInput {
  Tensor channels;                      // [rows, x, B and C side by side], after the convolution
  std::array<int64_t, 3> heads;         // of x [P], B [N] and C [N]
  Tensor C_weight = {}, B_weight = {};  // [N]: their norm; undefined: none
  RopeAngles angles = {};               // of B and C, [rows, N / 2] float32; undefined: none
  Tensor dt;                            // [rows, H]
  Tensor A_log = {}, dt_bias = {};      // [H], both or neither
  Tensor D;                             // [H]
  double eps = 1e-6;                    // of the norms
  Tensor state;  // [S, H, N, P] float32 (float64 for float64 input), contiguous, updated in place
  Tensor slots;  // [rows] int32: the state of each row
};

/// With time steps Delta = softplus(dt + dt_bias): S <- exp(-exp(A_log) Delta) S + B^T Delta x; or,
/// without A_log, S <- exp(-softplus(dt)) S + B^T x. Then C S + D x: [rows, H P] in the channels'
/// type. No autograd. Rows of one slot are tokens in order on a CPU; on a GPU, which is never
/// waited for, each slot comes at most once. A row with a slot < 0 is padding: no state changes,
/// its output is zero. bfloat16 and float32 rows on a GPU have a kernel for N = P of 64 and 128: it
/// reads and writes the state once, and a row's result does not depend, bit for bit, on the others.
/// Throws Error when shapes or types disagree.
Tensor mamba2_step(const Mamba2StepInput& input);

}  // namespace hypenet
