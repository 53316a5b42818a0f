// One decoded token through a lightning mixer, from its projections to the input of o_proj
// (docs/kernels.md, "One step").
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include "ops/rope.h"

namespace hypenet {

using torch::Tensor;

struct LightningStepInput {
  Tensor q;                             // [B, H d], as projected
  Tensor k, v;                          // [B, G d], H a multiple of G
  Tensor q_weight = {}, k_weight = {};  // [d]: the q/k norm; undefined: none
  RopeAngles angles = {};               // [d / 2] or [B, d / 2] float32; undefined: no rotation
  Tensor decay;                         // [H] float32 nats per token
  double scale = 1;                     // multiplies q
  Tensor o_weight = {};                 // [H d]: the output norm; undefined: none
  Tensor gate = {};   // [B, H d], sigmoid(gate) multiplies the output; undefined: none
  double eps = 1e-6;  // of the norms
  Tensor state;  // [S, H, d, d] float32 (float64 for float64 input), contiguous, updated in place
  Tensor slots = {};  // [B] int32: the state of each row; undefined: row n has state n, S = B
};

/// S <- exp(-decay) S + k^T v, then norm(scale q S) * sigmoid(gate), heads side by side: [B, H d]
/// in q's type. No autograd. The state's first numbers are gone afterwards. Rows of one slot are
/// tokens in order, each after the one before; on a GPU each slot comes at most once. A row with a
/// slot < 0 is padding: no state changes, its output is zero. float32 q may come with bfloat16
/// norm weights. Kernels take d 64 and 128 on a GPU, where the state is read and written once, and
/// float32 with d a multiple of 4 on a CPU: there a row's result does not depend, bit for bit, on
/// the other slots' rows, nor on how rows are cut into calls. Never waits for a GPU. Throws Error
/// when shapes or types disagree.
Tensor lightning_step(const LightningStepInput& input);

}  // namespace hypenet
