// The recurrence of RWKV-4 (arXiv 2305.13048): a weighted mean of values in each channel, whose
// weights fade with time and grow like exp(k). It has no heads and no queries.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

namespace hypenet {

using torch::Tensor;

/// y_t = (sum_{i<t} e^{k_i - (t-1-i) w} v_i + e^{u + k_t} v_t) / (the same without v), in each
/// channel, with w = exp(time_decay).
struct Rwkv4Input {
  Tensor time_decay, time_first;  // w before exp, and u: [C]
  Tensor k, v;                    // [B, T, C]
  /// [B, 3, C] in the type of sums, or undefined: no tokens yet. With m the largest exponent of the
  /// past: the sum above, the one without v, both times e^-m, and m. See rwkv4_empty_state.
  Tensor state = {};
};

struct Rwkv4Output {
  Tensor output;  // [B, T, C] in v's type
  Tensor state;   // [B, 3, C] after the last token
};

/// Chunked tensor code, differentiable in all tensors: no exponent is above 0, so that it is stable
/// for any k, and what does not depend on the exponents' largest is not changed by it. Sums and
/// states are float32 (float64 for float64 k). T >= 1. Throws Error when shapes disagree. Time
/// O(T chunk) a channel.
Rwkv4Output rwkv4_recurrence(const Rwkv4Input& input, int64_t chunk = 16);

/// One token (T = 1) of N rows against input.state [S, 3, C], updated in place; row n has state
/// slots[n] (step_rows of ops/slot_states.h). Returns [N, 1, C]. No autograd.
Tensor rwkv4_step(const Rwkv4Input& input, const Tensor& slots);

/// That of sequences without tokens, [B, 3, C]: sums of 0, and an exponent below all others.
Tensor rwkv4_empty_state(int64_t B, int64_t C, const torch::TensorOptions& options);

}  // namespace hypenet
