// Softmax attention of an inference step over keys and values in pages, from the projections to the
// input of o_proj (docs/kernels.md, "Attention of a step").
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include "ops/kv_pages.h"
#include "ops/rope.h"

namespace hypenet {

using torch::Tensor;

struct AttentionStepInput {
  Tensor q;                             // [N, H d], as projected
  Tensor k, v;                          // [N, G d], H a multiple of G
  Tensor q_weight = {}, k_weight = {};  // [d]: the q/k norm; undefined: none
  double eps = 1e-6;                    // of the norms
  RopeAngles angles = {};               // [N, d / 2] float32; undefined: no rotation
  Tensor query_scale = {};              // [N] float32, s_t of each row's query; undefined: 1
  Tensor gate = {};   // [N, H d], sigmoid(gate) multiplies the output; undefined: none
  KvPages cache;      // in q's type, or bfloat16 for float32 q; the rows' keys and values are added
  Tensor page_table;  // int32 [slots, pages of a sequence at most]
  Tensor slots;       // int32 [N]: the sequence of each row
  Tensor positions;   // int32 [N]: its token, from 0; all earlier ones are in the cache or the rows
};

/// softmax(q k^T / sqrt d) v over tokens 0 .. positions[n] of each row's sequence, times
/// sigmoid(gate), heads side by side: [N, H d] in q's type. Rows of one sequence stand in order of
/// position; on a GPU each slot comes at most once. Rows with a slot < 0 are padding: nothing is
/// written for them, and their output is zero. A row's result does not depend, bit for bit, on the
/// other rows or the page size. No autograd, no copy of the cache; never waits for a GPU. Throws
/// Error when shapes, types or devices disagree.
Tensor attention_step(const AttentionStepInput& input);

}  // namespace hypenet
