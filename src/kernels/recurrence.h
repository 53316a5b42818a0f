// The linear recurrence in float32, one head at a time (docs/kernels.md, "One linear recurrence"):
// of a constant decay in chunks, forward and backward; of every kind token by token.
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

/// For each row in turn: S <- D S; S <- S + k^T beta (v - [is_delta] k S); o = scale q S.
struct RecurrenceTokensParams {
  const float *q, *k;    // [.., heads, key_size]
  const float* v;        // [.., heads, value_size]
  const float* decay;    // [.., heads, decay_size] nats: D is diag(exp(-decay)), or one number's
  const float* beta;     // [.., heads]; null: 1
  const int32_t* slots;  // [..]: the state of each row; < 0: o is zero, no state changes. Null:
                         // that of sequence first_row / rows
  float* states;         // [slots, heads, key_size, value_size], updated in place
  float* output;         // [.., heads, value_size]
  int64_t first_row, rows, heads;
  int64_t key_size, value_size, decay_size;  // value_size a multiple of 4; decay_size 1 or key_size
  bool is_delta;
  float scale;
};

/// Columns of a state that go through the tokens together at most.
constexpr int64_t kRecurrenceColumns = 64;

/// Rows first_row .. first_row + rows - 1 of one head; scratch [2 + kRecurrenceColumns, key_size].
void recurrence_tokens(const RecurrenceTokensParams& params, int64_t head, float* scratch);

}  // namespace hypenet::kernels
