// Attention to a few learned slots and a window of tokens under one softmax: Native Hybrid
// Attention (arXiv 2510.07019). A token that leaves the window enters the slots, which it fades.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

namespace hypenet {

using torch::Tensor;

/// T tokens that follow P others: the window's, zeros where there are none, or P = 0, which means
/// the same of W zeros. W of the window, M slots, H query heads of which H / G in a row share a key
/// head.
struct SlotAttention {
  Tensor q, rotated_q;  // [B, T, H, d], for the slots and for the window
  Tensor k, rotated_k;  // [B, P + T, G, d] likewise
  Tensor v;             // [B, P + T, G, d]
  // [B, P + T, G, M], nats >= 0 by which a token fades each slot that it enters; it writes itself
  // with the share 1 - exp(-decay).
  Tensor decay;
  int64_t window = 1;       // W >= 1: the last tokens, the query's own among them
  Tensor first_key = {};    // int64 [B]: of the P + T the first that is a token; undefined: P
  double scale = 1;         // multiplies q
  Tensor slot_keys = {};    // [B, G, d, M] before; undefined means zero
  Tensor slot_values = {};  // [B, G, M, d]
  int64_t chunk = 16;       // tokens a chunk of tensor code; kernels have their own
  bool needs_slots = true;
};

struct SlotAttentionOutput {
  Tensor output;  // [B, T, H, d] in q's type
  // After all that have left the window have entered, in the sum's type; may be undefined unless
  // they were asked for.
  Tensor slot_keys, slot_values;
};

/// Token j, W before query t, enters: K_t = K_{t-1} diag(exp(-decay_j)) + k_j^T s_j, V_t =
/// diag(exp(-decay_j)) V_{t-1} + s_j^T v_j, s_j = 1 - exp(-decay_j); then o_t is the mean of the
/// rows of V_t and of the window's values by the softmax of scale [q_t K_t, rotated q_t . rotated
/// k_i]. Empty slots take part, with score 0 and value 0. Differentiable in all but first_key. Sums
/// and slots are float32 (float64 for float64 q). bfloat16 q, k and v on a GPU have kernels for d
/// 64 and 128, M a multiple of 8 up to 64 and W up to 64, which take scratch memory of about 1.5
/// (backward 5) times q; there a token fades a slot by 8 nats at most. All else is tensor code in
/// chunks, of memory O(T (chunk + d) M + T (W + chunk) d / chunk) a head. Throws Error when shapes
/// disagree.
SlotAttentionOutput slot_attention(const SlotAttention& input);

}  // namespace hypenet
