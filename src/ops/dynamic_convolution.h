// A short convolution whose taps each token brings along, as Jet-Nemotron's (arXiv 2508.15884).
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

namespace hypenet {

using torch::Tensor;

/// y_t = sum_{i < W} taps[t, c, i] x_{t - W + 1 + i} in each channel c: x [B, T, C], taps [B, T, C,
/// W], tail [B, C, W - 1] the inputs before the first token, the oldest first (undefined: zeros).
/// Returns x's type; sums are float32 (float64 for float64 x), the same bits however a sequence is
/// cut. Differentiable in all three. Throws Error when shapes disagree. The tail after x is
/// advance_tail's of ops/short_convolution.h.
Tensor dynamic_convolution(const Tensor& x, const Tensor& taps, const Tensor& tail = {});

/// The same of the rows x [N, C] and taps [N, C, W] of an inference step, row n a token of the
/// sequence whose tail is tails[slots[n]], [S, C, W - 1], updated in place (step_rows of
/// ops/slot_states.h). No autograd.
Tensor dynamic_convolution_step(const Tensor& x, const Tensor& taps, const Tensor& tails,
                                const Tensor& slots);

}  // namespace hypenet
