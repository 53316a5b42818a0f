// Softmax attention of rows over keys and values in pages, float32 with a float32 or bfloat16
// cache. Sums run over blocks of 64 keys at absolute positions and over splits of kSplitTokens, so
// that a row's bits depend on nothing but its own context.
#pragma once

#include <cstdint>

#include "kernels/status.h"

namespace hypenet::kernels {

/// Token t of the sequence in slot s lies at [page_table[s][t / page_tokens]][t % page_tokens].
struct StepPages {
  void *keys, *values;               // [pages, page_tokens, key_heads, size] of `type`
  const int32_t* page_table;         // [slots, table_width]
  const int32_t *slots, *positions;  // [rows]
  int64_t page_tokens, table_width;  // page_tokens is a multiple of 64
  int64_t key_heads, size;
  DType type;
};

struct StepVectorParams {
  const float* x;           // [rows, heads, size]
  const float* weight;      // [size], or null for no norm
  const float *cos, *sin;   // [rows, size / 2], or null for no rotation
  const float* row_scales;  // [rows], or null for 1
  float* y;                 // [rows, heads, size]
  int64_t heads, size;
  float eps, scale;
};

/// y = scale * row_scale * rotate(norm(x) * weight), rows begin .. end - 1.
void ready_step_vectors(const StepVectorParams& params, int64_t begin, int64_t end);

/// Puts the keys and values [rows, key_heads, size] of rows begin .. end - 1 into their pages,
/// rounded to the cache's type; rows with a slot < 0 are left out.
void store_step_rows(const StepPages& pages, const float* keys, const float* values, int64_t begin,
                     int64_t end);

struct AttentionStepParams {
  const float* q;     // [rows, heads, size], times 1 / sqrt(size); heads = group * key_heads
  const float* gate;  // [rows, heads, size], or null: sigmoid(gate) multiplies the output
  float* o;           // [rows, heads, size]
  StepPages pages;
  int64_t group;  // query heads of a key head
};

/// Neighbouring rows of one slot, in order of position, and one key head: `rows` * group queries.
struct AttentionStepTask {
  int64_t first_row, rows, key_head;
};

constexpr int64_t kSplitTokens = 256;

/// Splits of the task's last row, which sees most.
int64_t attention_step_splits(const AttentionStepParams& params, const AttentionStepTask& task);

/// Floats of a part: the task's weighted values, largest scores and sums of weights over some keys.
int64_t attention_step_part(const AttentionStepParams& params, const AttentionStepTask& task);

/// Floats that attention_step_split works in.
int64_t attention_step_scratch(const AttentionStepParams& params, const AttentionStepTask& task);

/// The part of one split.
void attention_step_split(const AttentionStepParams& params, const AttentionStepTask& task,
                          int64_t split, float* part, float* scratch);

/// total becomes the part over the keys of both; splits are added in order.
void add_attention_part(const AttentionStepParams& params, const AttentionStepTask& task,
                        float* total, const float* part);

/// Writes the task's outputs.
void finish_attention_step(const AttentionStepParams& params, const AttentionStepTask& task,
                           const float* total);

}  // namespace hypenet::kernels
