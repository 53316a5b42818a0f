// Attention to slots and a window of tokens under one softmax, in chunks of 64 on tensor cores:
// Native Hybrid Attention (docs/kernels.md, "Slot attention"; ops/slot_attention.h is the op).
#pragma once

#include "kernels/status.h"

namespace hypenet::kernels::cuda {

struct SlotAttentionSizes {
  int64_t batch, tokens;     // B, T >= 1
  int64_t past;              // tokens before them, P: 0 or the window
  int64_t heads, key_heads;  // H, a multiple of G
  int64_t size, slots;       // d = 64 or 128; M a multiple of 8, up to 64
  int64_t window;            // W, 1 to 64
};

/// Tensors are contiguous and start at multiples of 16 bytes.
struct SlotAttentionParams {
  SlotAttentionSizes sizes;
  const void *q, *rotated_q;               // bfloat16 [B, T, H, d]
  const void *k, *rotated_k, *v;           // bfloat16 [B, P + T, G, d]
  const float* decay;                      // nats, >= 0, [B, P + T, G, M]
  const int64_t* first_key;                // [B]: of the P + T the first that is a token; null: P
  const float *given_keys, *given_values;  // [B, G, d, M], [B, G, M, d]; null: zero
  void* output;                            // bfloat16 [B, T, H, d]
  float* log_sums;                         // [B, H, N, 64], N chunks, in bits; null: not wanted
  float *final_keys, *final_values;        // as given; null: not wanted
  void* scratch;  // slot_attention_bytes(sizes, false) bytes, from a multiple of 256
  float scale;
};

/// The gradients; `forward` holds the inputs, log_sums as the forward wrote them, and
/// slot_attention_bytes(sizes, true) bytes of scratch.
struct SlotAttentionBackwardParams {
  SlotAttentionParams forward;               // output and final slots are not read
  const void* doutput;                       // bfloat16 [B, T, H, d]
  const float *dfinal_keys, *dfinal_values;  // null: zero
  void *dq, *drotated_q;                     // as q
  void *dk, *drotated_k, *dv;                // as k
  float* ddecay;                             // as decay
  float *dgiven_keys, *dgiven_values;        // null: not wanted
};

Status slot_attention(const SlotAttentionParams& params, Stream stream);
Status slot_attention_backward(const SlotAttentionBackwardParams& params, Stream stream);

/// What `scratch` must hold, forward or backward.
int64_t slot_attention_bytes(const SlotAttentionSizes& sizes, bool is_backward);

/// Whether the current device can run the kernels, both ways, for these sizes.
bool has_slot_attention(const SlotAttentionSizes& sizes);

}  // namespace hypenet::kernels::cuda
