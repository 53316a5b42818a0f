// What stands between RWKV-7's projections and its recurrence (ops/dplr.h): its decays, rates and
// keys.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

namespace hypenet {

using torch::Tensor;

struct Rwkv7GatesInput {
  Tensor k;                   // [.., G, d], normed and rotated; G divides H
  Tensor z_decay, z_rate;     // [.., H d] of k's type
  Tensor w0, a0;              // [H d] in any shape and floating type, as all parameters
  Tensor k_k = {}, k_a = {};  // both or neither
  double eps = 0;             // of kappa's length squared
};

/// Each [.., H, d].
struct Rwkv7Gates {
  Tensor key, a, b;  // in the type of sums, or rounded to k's by a kernel
  Tensor decay;      // in the type of sums
};

/// decay = e^-0.5 sigmoid(z_decay + w0), rate = sigmoid(z_rate + a0), kappa = unit(k .* k_k), a =
/// -kappa, b = kappa .* rate, key = k .* (1 + (rate - 1) .* k_a); without k_k and k_a kappa =
/// unit(k) and key = k .* (1 - exp(-decay) + rate). The heads of k are repeated in place until
/// there are H. Differentiable. On a GPU one pass each way for d 64 and 128 in bfloat16 and
/// float32. Throws Error when shapes or types disagree.
Rwkv7Gates rwkv7_gates(const Rwkv7GatesInput& input);

}  // namespace hypenet
