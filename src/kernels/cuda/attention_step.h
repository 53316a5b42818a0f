// Softmax attention of an inference step over bfloat16 keys and values in pages (docs/kernels.md,
// "Attention of a step"): one query row a sequence, each key and value read once for its group.
#pragma once

#include "kernels/status.h"

namespace hypenet::kernels::cuda {

/// Token t of the sequence in slot s lies at [page_table[s][t / page_tokens]][t % page_tokens].
struct KvPageParams {
  void *keys, *values;               // [pages, page_tokens, key_heads, d] bfloat16
  const int32_t* page_table;         // [slots, table_width]
  const int32_t *slots, *positions;  // [rows]; a row with a slot < 0 is padding
  int64_t page_tokens, table_width;  // page_tokens is a multiple of 64
};

/// o = softmax(q k^T / sqrt d) v * sigmoid(gate) over tokens 0 .. position, with q =
/// query_scale * rotate(norm(q) * q_weight) and k alike, both rounded to bfloat16. The row's key
/// and value are written to its pages. Each slot comes at most once.
struct AttentionStepParams {
  const void* q;                    // [rows, heads, d] bfloat16
  const void *k, *v;                // [rows, key_heads, d]
  const void *q_weight, *k_weight;  // [d], or null for no norm
  const float *cos, *sin;           // [rows, d / 2], or null for no rotation
  const float* query_scale;         // [rows], or null for 1
  const void* gate;                 // [rows, heads, d], or null
  KvPageParams pages;
  float* parts;                          // attention_step_floats() floats to work in
  void* o;                               // [rows, heads, d]
  int64_t rows, heads, key_heads, size;  // d is 64 or 128; at most 16 heads a key head
  DType weight_type;
  float eps;
};

/// Pointers are multiples of 16 bytes, of `parts` too. On a settled stream slots, positions, table
/// and pages are read ahead.
Status attention_step(const AttentionStepParams& params, Stream stream);

/// Floats that `parts` needs on the current device. Reads the sizes in `params` alone.
int64_t attention_step_floats(const AttentionStepParams& params);

}  // namespace hypenet::kernels::cuda
