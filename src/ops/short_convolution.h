// The short convolution in front of a recurrence: depthwise and causal, a few taps a channel.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include <vector>

namespace hypenet {

using torch::Tensor;

/// What follows a short convolution.
struct AfterConvolution {
  Tensor bias = {};  // [C] of any floating type; undefined: none
  bool has_silu = false;
};

/// y_t = f(sum_{i < W} weight[c, 0, i] x_{t - W + 1 + i} + bias) in each channel c, f SiLU or
/// nothing: x [B, T, C], weight [C, 1, W] of any floating type, tail [B, C, W - 1] the inputs
/// before the first token, the oldest first (undefined: zeros). Returns x's type; sums are float32
/// (float64 for float64 x), the same bits however a sequence is cut. Differentiable in all of them.
/// On a GPU bfloat16 and float32 have kernels for 2 to 4 taps and channels in fours, with gradients
/// where there is no tail: one pass each way. Throws Error when shapes disagree.
Tensor short_convolution(const Tensor& x, const Tensor& weight, const Tensor& tail = {},
                         const AfterConvolution& after = {});

/// Makes tail [B, C, W - 1] that of what follows x [B, T, C], in place. No autograd.
void advance_tail(const Tensor& tail, const Tensor& x);

/// short_convolution of the rows x [N, C] of an inference step, row n a token of the sequence whose
/// tail is tails[slots[n]], [S, C, W - 1], updated in place; slots int32 [N]. A slot < 0 is
/// padding: zeros. On a CPU rows of one slot are tokens in order; on a GPU, which is never waited
/// for, each slot comes at most once. No autograd.
Tensor short_convolution_step(const Tensor& x, const Tensor& weight, const Tensor& tails,
                              const Tensor& slots);

/// One of the convolutions of a layer, as short_convolution_step has it.
struct StepConvolution {
  Tensor x, weight, tails;
  Tensor bias = {};  // [C]; undefined: none
};

/// short_convolution_step of each, its bias added, and x sigmoid(x) after it if has_silu. On a GPU
/// bfloat16 and float32 rows have a kernel for up to kMostStepTaps taps: one launch takes three of
/// them, rounds once, and reads and writes the tails alone.
std::vector<Tensor> short_convolution_steps(const std::vector<StepConvolution>& convolutions,
                                            const Tensor& slots, bool has_silu);

inline constexpr int64_t kMostStepTaps = 8;

}  // namespace hypenet
