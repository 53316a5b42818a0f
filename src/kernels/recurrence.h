// The linear recurrence of a constant decay, one head at a time, chunked (docs/kernels.md),
// float32, forward and backward.
#pragma once

#include <cstdint>

namespace hypenet::kernels {

/// Tokens a chunk of these kernels: scores of a chunk stay in the first-level cache.
constexpr int64_t kRecurrenceChunk = 64;

/// Pointers are to the head's first token; token t lies t * token floats further. States are [size,
/// size].
struct RecurrenceParams {
  const float *q, *k, *v;
  float* output;
  const float* initial;  // state before the first token; null: zero
  float* final_state;    // after the last; null: not wanted
  float* starts;  // state before each chunk, [chunks, size, size], for backward; null: not wanted
  int64_t tokens, size;  // size is a multiple of 16
  int64_t token;
  double decay, scale;
};

/// One head; `scratch` holds recurrence_scratch(size) floats.
void recurrence_forward(const RecurrenceParams& params, float* scratch);

struct RecurrenceBackwardParams {
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

void recurrence_backward(const RecurrenceBackwardParams& params, float* scratch);

/// Floats of scratch that either kernel needs.
int64_t recurrence_scratch(int64_t size);

}  // namespace hypenet::kernels
