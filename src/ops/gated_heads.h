// The gate and norm of each head behind a recurrence: Mamba-2's, where the gate comes first, and
// RWKV-7's.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

namespace hypenet {

using torch::Tensor;

/// rms of each head(y .* silu(z + bias)) .* weight; y, z [.., heads d] of one type, bias [heads d]
/// or undefined, weight [heads d], of any floating types. Returns y's type. Differentiable. Without
/// gradients bfloat16 and float32 rows on a GPU have a kernel for d 64 and 128, one pass over y and
/// z that rounds once; a row's bits are its own. Throws Error when shapes or types disagree.
Tensor gated_heads(const Tensor& y, const Tensor& z, const Tensor& bias, const Tensor& weight,
                   int64_t heads, double eps);

/// The same of y + skip .* x for whole sequences: y, x [.., heads, d] of one type, skip [heads] of
/// any floating type, z [.., heads d]; returns [.., heads d]. On a GPU one pass each way over all
/// of them, with and without gradients, for d 64 and 128 in bfloat16 and float32.
Tensor skip_gated_heads(const Tensor& y, const Tensor& x, const Tensor& skip, const Tensor& z,
                        const Tensor& bias, const Tensor& weight, double eps);

/// What RWKV-7's outputs pass through.
struct NormGate {
  Tensor x;             // [.., heads, d]
  Tensor gate;          // [.., heads d] of x's type
  Tensor weight, bias;  // [heads d] of any floating types
  double eps = 0;
  bool is_sigmoid = false;
};

/// (layer norm of each head(x) .* weight + bias) .* f(gate), f sigmoid or nothing, [.., heads d].
/// Differentiable. On a GPU one pass each way for d 64 and 128 in bfloat16 and float32. Throws
/// Error when shapes or types disagree.
Tensor norm_gated_heads(const NormGate& in);

}  // namespace hypenet
