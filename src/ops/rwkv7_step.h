// One decoded token through RWKV-7's mixer, from its projections to the gated output of its heads
// (docs/kernels.md, "One step").
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include "ops/rope.h"

namespace hypenet {

using torch::Tensor;

/// H and d are the state's; heads of k and v, each a divisor of H, are repeated in place. The
/// mixer's parameters have H d numbers in any shape, in float32 or the rows' type.
struct Rwkv7StepInput {
  Tensor r = {}, k = {}, v = {};            // [N, H d], [N, heads d], [N, heads d]
  Tensor r_weight = {}, k_weight = {};      // [d]: the norms of r and k; undefined: none
  RopeAngles angles = {};                   // [N, d / 2] float32; undefined: no rotation
  Tensor z_decay = {}, decay_start = {};    // [N, H d] and w0: e^-0.5 sigmoid(z + w0) nats
  Tensor z_rate = {}, rate_start = {};      // [N, H d] and a0: the rate is sigmoid(z + a0)
  Tensor kappa_scale = {}, key_rate = {};   // k_k and k_a; undefined: keys are balanced
  Tensor bonus = {};                        // r_k; undefined: none
  Tensor norm_weight = {}, norm_bias = {};  // of each head's outputs; undefined: they are / sqrt(d)
  Tensor gate = {};                         // [N, H d] that multiplies the output
  bool is_sigmoid_gate = false;             // or its sigmoid does
  double eps = 1e-6;                        // of the norms of r and k
  double unit_eps = 1e-24;                  // of kappa's length squared
  double norm_eps = 1e-5;                   // of the norm of outputs
  Tensor state = {};  // [S, H, d, d] float32 (float64 for float64 input), contiguous, updated in
                      // place
  Tensor slots = {};  // [N] int32: the state of each row
};

/// With r and k normed and rotated, kappa = unit(k .* k_k) and k <- k .* (1 + (rate - 1) .* k_a)
/// (balanced: k .* (1 - exp(-decay) + rate)): the step of ops/dplr.h with a = -kappa and b = kappa
/// .* rate, then (norm(o) + (sum r .* k .* r_k) v) .* gate: [N, H d] in r's type. No autograd. Rows
/// of one slot are tokens in order on a CPU; on a GPU, which is never waited for, each slot comes
/// at most once. A row with a slot < 0 is padding: no state changes, its output is zero. bfloat16
/// and float32 rows on a GPU with d = 64 or 128 have a kernel: it reads and writes the state once,
/// and a row's result does not depend, bit for bit, on the others. Throws Error when shapes or
/// types disagree.
Tensor rwkv7_step(const Rwkv7StepInput& input);

}  // namespace hypenet
