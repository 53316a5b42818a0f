// Attention as it is defined; it holds every score.
#include "ops/reference/attention.h"

#include <cmath>
#include <limits>

namespace hypenet::reference {

Tensor causal_attention(const Tensor& q, const Tensor& k, const Tensor& v,
                        const Tensor& first_key) {
  const int64_t T = q.size(1), S = k.size(1), group = q.size(2) / k.size(2);
  const Tensor qh = q.transpose(1, 2);                              // [B, H, T, d]
  const Tensor kh = k.repeat_interleave(group, 2).transpose(1, 2);  // [B, H, S, d]
  const Tensor vh = v.repeat_interleave(group, 2).transpose(1, 2);
  const Tensor keys = torch::arange(S), queries = torch::arange(S - T, S).unsqueeze(1);
  Tensor hidden = (keys > queries).unsqueeze(0);  // [1 or B, T, S]
  if (first_key.defined()) hidden = hidden.logical_or(keys < first_key.view({-1, 1, 1}));
  hidden = hidden.unsqueeze(1);
  const Tensor scores = torch::matmul(qh, kh.transpose(2, 3)) / std::sqrt(double(q.size(3)));
  const double least = -std::numeric_limits<double>::infinity();
  // An empty softmax is 0 / 0; such rows are zeros by definition.
  const Tensor empty = hidden.all(-1, true);
  const Tensor seen = scores.masked_fill(hidden.logical_and(empty.logical_not()), least);
  const Tensor weights = seen.softmax(-1).masked_fill(empty, 0);
  return torch::matmul(weights, vh).transpose(1, 2);
}

}  // namespace hypenet::reference
