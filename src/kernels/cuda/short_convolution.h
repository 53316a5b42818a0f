// Short convolutions of whole sequences, with bias and SiLU after them where they are there, and
// their gradients (ops/short_convolution.h; docs/kernels.md, "Around a recurrence").
#pragma once

#include "kernels/status.h"

namespace hypenet::kernels::cuda {

constexpr int64_t kMostSequenceTaps = 4;

/// y_t = f(sum_i weight_i x_(t - taps + 1 + i) + bias) of each channel, f SiLU or nothing.
struct ShortConvolutionParams {
  const void* x;        // [batch, tokens, channels]
  int64_t x_row;        // numbers of x from one token to the next
  const float* weight;  // [channels, taps]
  const float* bias;    // [channels], or null
  const float* tail;    // [batch, channels, taps - 1], what was before; null: zeros
  void* y;              // [batch, tokens, channels]
  int64_t batch, tokens, channels, taps;
  bool has_silu;
  DType type;
};

/// channels a multiple of 4, taps 2 to kMostSequenceTaps. x, weight and bias and the rows of x
/// begin at multiples of four numbers.
Status short_convolution(const ShortConvolutionParams& params, Stream stream);

struct ShortConvolutionBackwardParams {
  ShortConvolutionParams forward;  // y is not read; tail null
  const void* dy;                  // [batch, tokens, channels]
  void* dx;                        // [batch, tokens, channels]
  float* weight_parts;             // [parts, channels, taps]: scratch
  float* bias_parts;               // [parts, channels]: scratch; null without a bias
  float* dweight;                  // [channels, taps]
  float* dbias;                    // [channels], or null
  int64_t parts;
};

/// How many parts of dweight the kernel leaves on the current device.
int64_t short_convolution_parts(const ShortConvolutionParams& params);

Status short_convolution_backward(const ShortConvolutionBackwardParams& params, Stream stream);

}  // namespace hypenet::kernels::cuda
