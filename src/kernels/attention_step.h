// Softmax attention of an inference step over keys and values in pages (docs/kernels.md, "Attention
// of a step").
#pragma once

#include <cstdint>

#include "kernels/status.h"

namespace hypenet::kernels {

/// What pages hold; another type of pages is told apart here.
struct KvPageParams {
  void *keys, *values;            // [pages, page_tokens, heads, size] of `type`
  int64_t page_tokens;            // a multiple of 64
  int64_t heads, size;            // of keys
  DType type = DType::kBFloat16;  // on a GPU; on a CPU float32 too
};

/// o = softmax(q k^T / sqrt size) v * sigmoid(gate) over tokens 0 .. position, with q =
/// query_scale * rotate(norm(q) * q_weight) and k alike. The row's key and value are written to its
/// pages: token t of the sequence in slot s lies at [page_table[s][t / page_tokens]][t %
/// page_tokens]. Rows and gate are bfloat16 on a GPU, where each slot comes at most once, and
/// float32 on a CPU, as are its weights.
struct AttentionStepParams {
  const void* q;                     // [rows, heads, size]; at most 16 heads a key head on a GPU
  const void *k, *v;                 // [rows, pages.heads, size]
  const void *q_weight, *k_weight;   // [size], or null for no norm
  const float *cos, *sin;            // [rows, size / 2], or null for no rotation
  const float* query_scale;          // [rows], or null for 1
  const void* gate;                  // [rows, heads, size], or null
  void* o;                           // [rows, heads, size]
  KvPageParams pages;                // size is 64 or 128 on a GPU, a multiple of 16 on a CPU
  const int32_t* page_table;         // [slots, table_width]
  const int32_t *slots, *positions;  // [rows]; a row with a slot < 0 is padding
  int64_t table_width, rows, heads;
  DType weight_type;
  float eps;
  float* parts;  // of a GPU: attention_step_floats() floats to work in
};

// On a CPU sums run over blocks of 64 keys at absolute positions and over splits of kSplitTokens,
// so that a row's bits depend on nothing but its own context.

/// First, rows begin .. end - 1: queries normed, rotated and scaled, by 1 / sqrt(size) too, go to
/// `q` [rows, heads, size], which is params.q from then on; keys and values into their pages.
void ready_step_rows(const AttentionStepParams& params, int64_t begin, int64_t end, float* q);

/// Neighbouring rows of one slot, in order of position, and one key head: `rows` times as many
/// queries as there are heads a key head.
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

namespace cuda {

/// All rows. Pointers are multiples of 16 bytes, of `parts` too. On a settled stream slots,
/// positions, table and pages are read ahead.
Status attention_step(const AttentionStepParams& params, Stream stream);

/// Floats that `parts` needs on the current device. Reads the sizes in `params` alone.
int64_t attention_step_floats(const AttentionStepParams& params);

}  // namespace cuda
}  // namespace hypenet::kernels
