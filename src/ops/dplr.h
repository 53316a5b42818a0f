// The recurrence of RWKV-7 (arXiv 2503.14456): a state whose transition is a diagonal plus a matrix
// of rank one. Unlike the delta rule of ops/recurrence.h it reads the state before it decays.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include "ops/recurrence.h"

namespace hypenet {

/// S_t = (diag(exp(-decay_t)) + b_t^T a_t) S_{t-1} + k_t^T v_t,  o_t = r_t S_t.
struct DplrRecurrence {
  Tensor r, k;         // [B, T, H, dk]
  Tensor a, b;         // [B, T, H, dk]: RWKV-7 has a = -kappa of length 1, b = kappa times a rate
  Tensor v;            // [B, T, H, dv]
  Tensor decay;        // [B, T, H, dk] nats per token, 0 to 5 (RWKV-7: up to 0.61)
  Tensor state = {};   // [B, H, dk, dv] in the type of sums; undefined means zero
  int64_t chunk = 16;  // tokens a chunk; factors grow like exp(decay chunk)
};

/// Differentiable in all tensors: by a GPU's kernels where they suit (ops/dplr_forms.h), else
/// chunked tensor code; token by token where few of them need no gradient. Inputs are of any
/// floating types; the output is of r's. Sums and states are float32
/// (float64 for float64 r). T >= 1. Throws Error when shapes disagree. Time O(T (chunk + dk) (dk +
/// dv)) a head.
RecurrenceOutput dplr_recurrence(const DplrRecurrence& input);

/// Token by token, without autograd.
RecurrenceOutput dplr_recurrent(const DplrRecurrence& input);

/// The chunked form, whatever T.
RecurrenceOutput dplr_chunked(const DplrRecurrence& input);

/// One token (T = 1) of N rows against input.state [S, H, dk, dv], updated in place; row n has
/// state slots[n] (step_rows of ops/slot_states.h). Returns [N, 1, H, dv] in v's type. No autograd.
Tensor dplr_step(const DplrRecurrence& input, const Tensor& slots);

}  // namespace hypenet
