// Queries go by blocks of 32 rows, each against all the keys it may see: nothing above the diagonal
// is computed but the corner of a block.
#include "kernels/attention.h"

#include <cmath>

#include "kernels/cpu/exponential.h"
#include "kernels/cpu/tile.h"

namespace hypenet::kernels {
namespace {

constexpr int64_t kBlock = 32;

/// The pieces of scratch memory; `padded` is the number of tokens rounded up to whole blocks.
struct Scratch {
  HYPENET_INLINE Scratch(float* memory, int64_t padded, int64_t size) {
    const auto take = [&memory](int64_t count) {
      float* const piece = memory;
      memory += count;
      return piece;
    };
    k_transposed = take(padded * size), v_transposed = take(padded * size);
    dk = take(padded * size), dv = take(padded * size);
    weights = take(kBlock * padded), dweights = take(kBlock * padded);
    q = take(kBlock * size), rows = take(kBlock * size), drows = take(kBlock * size);
  }
  float *k_transposed, *v_transposed;  // [size, padded]
  float *dk, *dv;                      // [padded, size]
  float *weights, *dweights;           // [kBlock, padded]
  float *q, *rows, *drows;             // [kBlock, size]
};

/// The largest score of a row and the sum of exp(score - largest); the row becomes these
/// exponentials, 0 from `seen` on.
struct RowSum {
  float largest, sum;
};

HYPENET_INLINE RowSum exponentiate_row(float* row, int64_t seen, int64_t width) {
  float largest = row[0], sum = 0;
#pragma omp simd reduction(max : largest)
  for (int64_t j = 0; j < seen; ++j) largest = row[j] > largest ? row[j] : largest;
#pragma omp simd reduction(+ : sum)
  for (int64_t j = 0; j < seen; ++j) {
    row[j] = exponential(row[j] - largest);
    sum += row[j];
  }
  for (int64_t j = seen; j < width; ++j) row[j] = 0;
  return {largest, sum};
}

/// The row's weights again, from what forward kept.
HYPENET_INLINE void softmax_row(float* row, int64_t seen, int64_t width, float log_sum) {
#pragma omp simd
  for (int64_t j = 0; j < seen; ++j) row[j] = exponential(row[j] - log_sum);
  for (int64_t j = seen; j < width; ++j) row[j] = 0;
}

HYPENET_INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

/// The gradient of the scores, in place of that of the weights: w (dw - sum_j w dw).
HYPENET_INLINE void softmax_gradient_row(const float* weights, float* dweights, int64_t width) {
  float along = 0;
#pragma omp simd reduction(+ : along)
  for (int64_t j = 0; j < width; ++j) along += weights[j] * dweights[j];
#pragma omp simd
  for (int64_t j = 0; j < width; ++j) dweights[j] = weights[j] * (dweights[j] - along);
}

HYPENET_INLINE void unpack(const float* from, int64_t rows, int64_t columns, float factor,
                           int64_t to_row, float* to) {
  for (int64_t i = 0; i < rows; ++i) {
#pragma omp simd
    for (int64_t j = 0; j < columns; ++j) to[i * to_row + j] = from[i * columns + j] * factor;
  }
}

}  // namespace

int64_t attention_scratch(int64_t tokens, int64_t size) {
  const int64_t padded = round_up(tokens, kBlock);
  return 4 * padded * size + 2 * kBlock * padded + 3 * kBlock * size;
}

HYPENET_VECTORIZED
void attention_forward(const AttentionParams& params, float* memory) {
  const int64_t tokens = params.tokens, size = params.size;
  const int64_t padded = round_up(tokens, kBlock);
  const Scratch scratch(memory, padded, size);
  pack_transposed(params.k, params.key_token, tokens, padded, size, scratch.k_transposed);
  for (int64_t member = 0; member < params.group; ++member) {
    for (int64_t first = 0; first < tokens; first += kBlock) {
      const int64_t rows = smaller(kBlock, tokens - first), width = first + kBlock;
      const int64_t offset = first * params.query_token + member * size;
      pack_rows(params.q + offset, params.query_token, rows, kBlock, size, params.scale, scratch.q);
      multiply(kBlock, width, size, {scratch.q, size, 1}, scratch.k_transposed, padded,
               scratch.weights, padded, false);
      float inverse_sums[kBlock];
      for (int64_t i = 0; i < kBlock; ++i) {
        float* const row = scratch.weights + i * padded;
        const RowSum sum = exponentiate_row(row, first + i + 1, width);
        inverse_sums[i] = 1.0F / sum.sum;
        if (i >= rows) continue;
        params.log_sums[member * tokens + first + i] = sum.largest + std::log(sum.sum);
      }
      multiply(kBlock, size, smaller(width, tokens), {scratch.weights, padded, 1}, params.v,
               params.key_token, scratch.rows, size, false);
      for (int64_t i = 0; i < rows; ++i) {
        unpack(scratch.rows + i * size, 1, size, inverse_sums[i], 0,
               params.output + offset + i * params.query_token);
      }
    }
  }
}

HYPENET_VECTORIZED
void attention_backward(const AttentionBackwardParams& params, float* memory) {
  const int64_t tokens = params.tokens, size = params.size;
  const int64_t padded = round_up(tokens, kBlock);
  const Scratch scratch(memory, padded, size);
  pack_transposed(params.k, params.key_token, tokens, padded, size, scratch.k_transposed);
  pack_transposed(params.v, params.key_token, tokens, padded, size, scratch.v_transposed);
  for (int64_t x = 0; x < padded * size; ++x) scratch.dk[x] = scratch.dv[x] = 0;
  for (int64_t member = 0; member < params.group; ++member) {
    for (int64_t first = 0; first < tokens; first += kBlock) {
      const int64_t rows = smaller(kBlock, tokens - first), width = first + kBlock;
      const int64_t offset = first * params.query_token + member * size;
      pack_rows(params.q + offset, params.query_token, rows, kBlock, size, params.scale, scratch.q);
      pack_rows(params.doutput + offset, params.query_token, rows, kBlock, size, 1.0F,
                scratch.drows);
      multiply(kBlock, width, size, {scratch.q, size, 1}, scratch.k_transposed, padded,
               scratch.weights, padded, false);
      multiply(kBlock, width, size, {scratch.drows, size, 1}, scratch.v_transposed, padded,
               scratch.dweights, padded, false);
      for (int64_t i = 0; i < kBlock; ++i) {
        float* const row = scratch.weights + i * padded;
        const int64_t seen = i < rows ? first + i + 1 : 0;
        const float log_sum = i < rows ? params.log_sums[member * tokens + first + i] : 0.0F;
        softmax_row(row, seen, width, log_sum);
        softmax_gradient_row(row, scratch.dweights + i * padded, width);
      }
      multiply(kBlock, size, smaller(width, tokens), {scratch.dweights, padded, 1}, params.k,
               params.key_token, scratch.rows, size, false);
      unpack(scratch.rows, rows, size, params.scale, params.query_token, params.dq + offset);
      multiply(width, size, kBlock, {scratch.dweights, 1, padded}, scratch.q, size, scratch.dk,
               size, true);
      multiply(width, size, kBlock, {scratch.weights, 1, padded}, scratch.drows, size, scratch.dv,
               size, true);
    }
  }
  unpack(scratch.dk, tokens, size, 1.0F, params.key_token, params.dk);
  unpack(scratch.dv, tokens, size, 1.0F, params.key_token, params.dv);
}

}  // namespace hypenet::kernels
