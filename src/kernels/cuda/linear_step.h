// The linear layers of an inference step, bfloat16 with float32 sums (docs/kernels.md, "Linear
// layers of a step"): few rows of x against many weights, which go through memory once.
#pragma once

#include "kernels/status.h"

namespace hypenet::kernels::cuda {

constexpr int kMostStepLayers = 6;
constexpr int64_t kFewStepRows = 8;  // so many rows of x are held in shared memory

struct LinearStepLayer {
  const void* weight;  // [rows, size]
  const void* bias;    // [rows], or null
  void* out;           // [N, rows]
  int64_t rows;
};

/// y = x W^T + b of each layer, x normed and gated before that: x <- round(norm(x) * norm_weight *
/// sigmoid(gate)). A row's y depends, bit for bit, on that row and the layer alone.
struct LinearStepParams {
  const void* x;                            // [N, size]
  const void* norm_weight;                  // [size], or null for no norm
  const void* gate;                         // [N, size], or null
  void* prepared;                           // [N, size]: x after norm and gate, space to work in
  LinearStepLayer layers[kMostStepLayers];  // the first layer_count of them
  int64_t layer_count;
  int64_t rows, size;     // N, and K, a multiple of 8
  bool is_swiglu;         // of two layers: round(silu(round(y0)) * round(y1)) is the first's out
  bool adds_to_out;       // out is read, and y added to it before it is rounded
  bool has_float_output;  // out is float32 (with neither of these two)
  DType norm_type;
  float eps;
};

/// Pointers are multiples of 16 bytes, biases of 2. With a norm or a gate `prepared` may be null,
/// but then more than kFewStepRows rows, or fewer and very long ones, read the weights more often.
Status linear_step(const LinearStepParams& params, Stream stream);

/// linear_step on the Hopper generation, meant for more than kFewStepRows rows; needs `prepared`.
Status linear_step_many_rows(const LinearStepParams& params, Stream stream);

}  // namespace hypenet::kernels::cuda
