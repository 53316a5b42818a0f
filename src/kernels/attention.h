// Causal softmax attention of one key/value head with the query heads it serves, float32, forward
// and backward.
#pragma once

#include <cstdint>

namespace hypenet::kernels {

/// Pointers are to the first token of the group's first query head (q, output) and of its key head
/// (k, v). Query heads of the group lie `size` floats apart; tokens query_token or key_token floats
/// apart.
struct AttentionParams {
  const float *q, *k, *v;
  float* output;
  float* log_sums;              // [group, tokens]: log of the sum of exp(score), for backward
  int64_t tokens, size, group;  // size is a multiple of 16
  int64_t query_token, key_token;
  float scale;
};

/// One group; `scratch` holds attention_scratch(tokens, size) floats.
void attention_forward(const AttentionParams& params, float* scratch);

struct AttentionBackwardParams {
  const float *q, *k, *v, *doutput;
  const float* log_sums;
  float *dq, *dk, *dv;
  int64_t tokens, size, group;
  int64_t query_token, key_token;
  float scale;
};

void attention_backward(const AttentionBackwardParams& params, float* scratch);

/// Floats of scratch that either kernel needs.
int64_t attention_scratch(int64_t tokens, int64_t size);

}  // namespace hypenet::kernels
