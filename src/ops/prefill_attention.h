// Softmax attention of a chunk of one sequence over its past in pages (docs/kernels.md, "Attention
// of a prefill").
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include "ops/attention_step.h"

namespace hypenet {

using torch::Tensor;

/// Causal softmax(q k^T / sqrt d) v of tokens past .. past + T - 1 of one sequence: q [T, H, d],
/// k and v [T, G, d] of these tokens, H a multiple of G; the keys and values of tokens 0 .. past -
/// 1 lie in `cache` at `pages` (int64 [n], n P >= past, on q's device). Returns [T, H, d] in q's
/// type. The past is gone through in pieces whose results are joined by their sums' logarithms;
/// memory holds one piece, and [T, H, d] of each, at most 32 of them. No autograd; never waits for
/// a GPU. Throws Error when shapes, types or devices disagree.
Tensor prefill_attention(const Tensor& q, const Tensor& k, const Tensor& v, const KvPages& cache,
                         const Tensor& pages, int64_t past);

/// Results of attention over parts of the keys, and the natural logarithms of their sums of
/// exponentials.
struct AttentionPart {
  Tensor output;  // [T, H, d], contiguous
  Tensor logsum;  // [H, T] float32 (float64 for float64 output), contiguous
};

/// The result over all keys, [T, H, d] in the parts' type. At least one part, at most 32.
Tensor join_attention(const std::vector<AttentionPart>& parts);

}  // namespace hypenet
