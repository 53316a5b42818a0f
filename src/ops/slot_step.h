// One decoded token through Native Hybrid Attention, from its projections to the output of its
// heads (docs/kernels.md, "One step").
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include "ops/rope.h"

namespace hypenet {

using torch::Tensor;

/// G, d and M are those of slot_keys, W is the window's; H query heads, a multiple of G.
struct SlotStepInput {
  Tensor q = {}, k = {}, v = {};        // [N, H d], [N, G d], [N, G d]
  Tensor g = {};                        // [N, G M]: the decay is softplus(-g) / normalizer
  Tensor q_weight = {}, k_weight = {};  // [d]: the q/k norm; undefined: none
  RopeAngles angles = {};               // [N, d / 2] float32
  double normalizer = 1, scale = 1;     // scale multiplies q
  double eps = 1e-6;                    // of the q/k norm
  // float32 (float64 for float64 input), contiguous, updated in place. The window holds k, rotated
  // k, v and the decay of a token, that of position p in place p mod W.
  Tensor slot_keys = {}, slot_values = {};  // [S, G, d, M], [S, G, M, d]
  Tensor window = {};                       // [S, W, G, 3 d + M]
  Tensor slots = {}, positions = {};        // int32 [N]: of each row
};

/// slot_attention of one token a row, [N, H, d] in q's type: the token W before it enters the slots
/// and it takes its place. No autograd. Rows of one slot are tokens in order on a CPU; on a GPU,
/// which is never waited for, each slot comes at most once. A row with a slot < 0 is padding:
/// nothing changes, its output is zero. bfloat16 and float32 rows on a GPU have a kernel where
/// is_slot_step: it reads and writes the slots once, and a row's result does not depend, bit for
/// bit, on the others. Throws Error when shapes disagree.
Tensor slot_step(const SlotStepInput& input);

/// The sizes that the kernel takes; `group` is H / G.
constexpr bool is_slot_step(int64_t d, int64_t M, int64_t W, int64_t group) {
  return (d == 64 || d == 128) && (M == 16 || M == 32 || M == 64) && W >= 1 && W <= 64 &&
         group <= 16;
}

}  // namespace hypenet
