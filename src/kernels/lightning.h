// Lightning attention of one head at a time, chunked (docs/kernels.md), float32, forward and
// backward.
#pragma once

#include <cstdint>

namespace hypenet::kernels {

/// Tokens a chunk of these kernels: scores of a chunk stay in the first-level cache.
constexpr int64_t kLightningChunk = 64;

/// Pointers are to the head's first token; token t lies t * token floats further. States are [size,
/// size].
struct LightningParams {
  const float *q, *k, *v;
  float* output;
  const float* initial;  // state before the first token; null: zero
  float* final_state;    // after the last; null: not wanted
  float* starts;  // state before each chunk, [chunks, size, size], for backward; null: not wanted
  int64_t tokens, size;  // size is a multiple of 16
  int64_t token;
  double decay, scale;
};

/// One head; `scratch` holds lightning_scratch(size) floats.
void lightning_forward(const LightningParams& params, float* scratch);

struct LightningBackwardParams {
  const float *q, *k, *v, *doutput;
  const float* starts;  // as forward wrote it
  const float* dfinal;  // gradient of the final state; null: zero
  bool has_initial;     // false: the first chunk's start is zero
  float *dq, *dk, *dv;
  float* dinitial;  // gradient of the initial state; null: not wanted
  int64_t tokens, size;
  int64_t token;
  double decay, scale;
};

void lightning_backward(const LightningBackwardParams& params, float* scratch);

/// Floats of scratch that either kernel needs.
int64_t lightning_scratch(int64_t size);

}  // namespace hypenet::kernels
