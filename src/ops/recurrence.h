// The linear recurrence that recurrent mixers share (docs/kernels.md, "One linear recurrence"):
// S_t = D_t S_{t-1} + k_t^T b_t (v_t - [is_delta] k_t D_t S_{t-1}),  o_t = scale q_t S_t,
// D_t = diag(exp(-decay_t)). What kind of decay and whether there is a delta rule choose the mixer.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

namespace hypenet {

using torch::Tensor;

struct Recurrence {
  Tensor q, k;  // [B, T, H, dk], one floating type
  Tensor v;     // [B, T, H, dv] in that type
  // Nats per token, >= 0, of any floating type: per head [H], per token and head [B, T, H], or per
  // key channel [B, T, H, dk]. The log decays g <= 0 of publications are -decay.
  Tensor decay = {};
  Tensor beta = {};       // [B, T, H] of any floating type, b above; undefined: 1
  bool is_delta = false;  // the delta rule: k of length 1 and beta <= 2 keep the state bounded
  double scale = 1;       // multiplies q
  Tensor state = {};      // [B, H, dk, dv] initial state; undefined means zero
  // Packed sequences (cu_seqlens): int32 or int64 [N + 1] on q's device, with B = 1: sequence n is
  // tokens offsets[n] .. offsets[n + 1] - 1, from 0 to T; states are then [N, H, dk, dv]. Device
  // kernels do not read them back: rows that they leave out, or name twice, are undefined.
  Tensor offsets = {};
  int64_t chunk = 128;  // tokens a chunk, in tensor code; kernels have their own
  // False: the output's state is left undefined (training), which saves its sums.
  bool needs_state = true;
};

struct RecurrenceOutput {
  Tensor output;  // [B, T, H, dv] in q's type
  // [B, H, dk, dv] after the last token, if needed: float32 (float64 for float64 input).
  Tensor state;
};

/// Chunked form, differentiable in q, k, v, decay, beta and the initial state (through output and
/// final state). A constant decay per head without beta and delta rule (lightning attention) has
/// kernels: bfloat16 on a GPU with head size 64 or 128, float32 on a CPU. So have the delta rule
/// and, on Hopper, a decay per token without it, bfloat16 on a GPU with those sizes. What else is
/// float32 on a CPU goes token by token through a kernel when no gradient is wanted; the rest is
/// tensor code. Sums and states are float32 (float64 for float64 input). T >= 1. Throws Error when
/// shapes, types or devices disagree. Time O(T (chunk (dk + dv) + dk dv)) a head.
RecurrenceOutput recurrence_chunked(const Recurrence& input);

/// Token by token, without autograd: the form of decode. Time O(T dk dv) a head.
RecurrenceOutput recurrence_recurrent(const Recurrence& input);

/// The form that suits T: recurrent for a few tokens without autograd or packing, unless a GPU has
/// kernels of the delta rule or of a decay per token; chunked otherwise.
RecurrenceOutput recurrence(const Recurrence& input);

/// One token (T = 1) of B rows against input.state [S, H, dk, dv], which is updated in place: what
/// a decode step computes. Row n has state slots[n] (int32 [B] on q's device; undefined: state n).
/// A slot < 0 is padding: its output is zero. On a CPU rows of one slot are tokens in order; on a
/// GPU, which is never waited for, each slot comes at most once. Returns [B, 1, H, dv]. No
/// autograd.
Tensor recurrence_step(const Recurrence& input, const Tensor& slots);

}  // namespace hypenet
