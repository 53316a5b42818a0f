// What chunked forms of recurrences share: a sequence in chunks, and how far a token has faded from
// those before it.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include <limits>

namespace hypenet {

using torch::Tensor;

/// [B, T, H, d] in chunks of C tokens, [B, H, N, C, d] of `type`. The zeros after the last token
/// fade nothing and add nothing.
inline Tensor in_chunks(const Tensor& x, int64_t C, torch::ScalarType type) {
  const int64_t T = x.size(1), N = (T + C - 1) / C;
  const Tensor wide = at::constant_pad_nd(x.to(type).transpose(1, 2), {0, 0, 0, N * C - T});
  return wide.unflatten(2, {N, C});
}

/// exp(G_i - G_j) for j <= i, else 0: sums of log decays [.., C, c] -> [.., C, C, c]. No exponent
/// is positive.
inline Tensor kept_between(const Tensor& G) {
  const int64_t C = G.size(-2);
  const Tensor later = torch::ones({C, C}, G.options().dtype(torch::kBool)).triu_(1).unsqueeze(-1);
  const Tensor same = torch::eye(C, later.options()).unsqueeze(-1);
  // 0 between a token and itself is a constant: gradients of both sides would cancel but for their
  // rounding, which is more than what a fast decay leaves of all others.
  const Tensor lag = (G.unsqueeze(-2) - G.unsqueeze(-3)).masked_fill(same, 0);
  return lag.masked_fill(later, -std::numeric_limits<double>::infinity()).exp();
}

}  // namespace hypenet
