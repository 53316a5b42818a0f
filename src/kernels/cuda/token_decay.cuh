// What the kernels of the recurrence with a decay per token share: how heads are cut into segments,
// and the passes that forward and gradients are made of.
#pragma once

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/token_decay.h"

namespace hypenet::kernels::cuda {

constexpr int kChunk = 64;         // tokens
constexpr int kMarkedChunks = 16;  // from mark to mark
/// An exponent of two: what has faded by 2^-24 is below float32's rounding of what is new.
constexpr float kForgotten = -24;

/// What a pass computes: o_i = scale q_i (S before + sum_{j <= i} k_j^T v_j, decayed), with beta as
/// a factor of v or, in gradients of keys and values, of o. kGather: the state alone.
enum class PassKind : int32_t { kGather, kForward, kQueries, kKeys, kValues };

/// Tensors are named by their part in the pass. With `reverse` time runs from the last token to the
/// first, and a token fades by the decay of the one after it.
struct Pass {
  PassKind kind = PassKind::kForward;
  bool reverse = false;
  bool given_transposed = false, segments_transposed = false;  // stored as [v, k]
  const void *q = nullptr, *k = nullptr, *v = nullptr;
  // kQueries: q, kKeys: k, kValues: v; what is written to `dots` is of its products.
  const void* r = nullptr;
  void* o = nullptr;
  // [B, H, d, d]: the state before the first token, times given_factor; null: zero.
  const float* given = nullptr;
  float given_factor = 1;
  // [B, H, d, d], or null; where time is reversed, times final_factor and the first token's decay.
  float* final_state = nullptr;
  float final_factor = 1;
  float* segments = nullptr;  // [B, H, segments, d, d]: what each segment makes of a zero state
  float* fades = nullptr;     // [B, H, segments]: its decay, as an exponent of two
  float* dots = nullptr;      // [B, T, H]; kValues: dbeta, or null
  // [B, H, marks, d d / 2]: states as a block's registers have them, or null.
  uint32_t* marks = nullptr;
};

/// Passes over the same tokens run side by side.
struct PassParams {
  Pass passes[3];
  int64_t pass_count;
  const float *decay, *beta;
  float scale;
  int64_t batch, tokens, heads;
  int64_t chunks;          // of a head
  int64_t segments;        // of a head
  int64_t segment_chunks;  // of all segments but the last
};

/// ddecay of a group of kMarkedChunks chunks out of what two passes left.
struct DecayGradientParams {
  const float *decay, *readers, *keys;       // [B, T, H]
  const uint32_t *state_marks, *grad_marks;  // the second null: nothing is wanted of the end
  float* ddecay;
  float scale;
  bool has_given, has_final_gradient;
  int64_t batch, tokens, heads, size, marks;
};

Status run_passes(const PassParams& params, int64_t size, bool is_backward, Stream stream);
Status gather_segments(const PassParams& params, int64_t size, Stream stream);
Status decay_gradient(const DecayGradientParams& params, Stream stream);

/// Blocks of run_passes and gather_segments that a multiprocessor holds, and their shared memory.
int64_t pass_blocks(int64_t size, bool is_backward);
int64_t pass_bytes(int64_t size, bool is_backward);

}  // namespace hypenet::kernels::cuda
