// The short convolutions in front of a recurrence, one token of each row, with SiLU after them
// where there is one (ops/short_convolution.h; docs/kernels.md, "One step").
#pragma once

#include "kernels/status.h"

namespace hypenet::kernels::cuda {

constexpr int kMostConvolutions = 3;  // of one launch: q's, k's and v's
constexpr int64_t kMostTaps = 8;

struct ShortConvolution {
  const void* x;       // [rows, channels]
  int64_t row;         // numbers of x from one row to the next
  const void* weight;  // [channels, taps]
  const void* bias;    // [channels], or null
  float* tails;        // [slots, channels, taps - 1], updated in place
  void* y;             // [rows, channels]
  int64_t channels;
};

/// y = f(sum_i weight_i x_(t - taps + 1 + i) + bias) of each channel, f SiLU or nothing; then x_t
/// enters the tail of the row's slot. A slot comes at most once.
struct ShortConvolutionStepParams {
  ShortConvolution convolutions[kMostConvolutions];  // the first `count` of them
  int64_t count;
  const int32_t* slots;  // [rows]; < 0: y is zero, no tail changes
  int64_t rows, taps;
  bool has_silu;
  DType type, weight_type;  // of x and y; of all weights and biases
};

/// On a settled stream slots and tails are read ahead.
Status short_convolution_step(const ShortConvolutionStepParams& params, Stream stream);

}  // namespace hypenet::kernels::cuda
