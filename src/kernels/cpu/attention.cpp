// Queries go by blocks of 32 rows, keys by panels of 32. Nothing above the diagonal is computed but
// the corner of a panel.
#include "kernels/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/cpu/exponential.h"
#include "kernels/cpu/tile.h"

namespace hypenet::kernels {
namespace {

constexpr int64_t kBlock = 32;
// What forward has at hand at a time: their scores and values stay in the nearest caches.
constexpr int64_t kKeys = 128;
// Rows of weights a power of two apart would share few lines of a cache.
constexpr int64_t kSkew = 16;
constexpr float kUnseen = std::numeric_limits<float>::lowest();

/// Memory that is handed out piece by piece.
struct Pieces {
  HYPENET_INLINE float* take(int64_t count) {
    float* const piece = next;
    next += count;
    return piece;
  }
  float* next;
};

/// Keys or values as panels [padded / kBlock, size, kBlock]: the right side of rows times keys.
HYPENET_INLINE void pack_panels(const float* from, int64_t from_row, int64_t tokens, int64_t size,
                                float* to) {
  for (int64_t first = 0; first < tokens; first += kBlock) {
    const int64_t rows = tokens - first < kBlock ? tokens - first : kBlock;
    pack_transposed(from + first * from_row, from_row, rows, kBlock, size, to + first * size);
  }
}

/// to [kBlock, count] = rows [kBlock, size] times the keys of `count / kBlock` panels.
HYPENET_INLINE void multiply_panels(const float* rows, const float* panels, int64_t count,
                                    int64_t size, float* to, int64_t to_row) {
  for (int64_t j = 0; j < count; j += kBlock) {
    multiply(kBlock, kBlock, size, {rows, size, 1}, panels + j * size, kBlock, to + j, to_row,
             false);
  }
}

/// A row's softmax so far: its largest score, and the sum of exp(score - largest).
struct RowSum {
  float largest, sum;
};

/// Takes in a row's next scores, which become exponentials, 0 from `seen` on; what was summed under
/// the former largest score is to be multiplied by what this returns.
HYPENET_INLINE float exponentiate_row(float* row, int64_t seen, int64_t width, RowSum& so_far) {
  // In whole vectors: what a row must not see adds too little to change its sum.
  const int64_t end = round_up(seen, kLanes);
  for (int64_t j = seen; j < end; ++j) row[j] = kUnseen;
  float largest = so_far.largest, sum = 0;
#pragma omp simd reduction(max : largest)
  for (int64_t j = 0; j < end; ++j) largest = row[j] > largest ? row[j] : largest;
#pragma omp simd reduction(+ : sum)
  for (int64_t j = 0; j < end; ++j) {
    row[j] = exponential(row[j] - largest);
    sum += row[j];
  }
  for (int64_t j = seen; j < width; ++j) row[j] = 0;
  const float factor = exponential(so_far.largest - largest);
  so_far = {largest, so_far.sum * factor + sum};
  return factor;
}

/// The row's weights again, from what forward kept.
HYPENET_INLINE void softmax_row(float* row, int64_t seen, int64_t width, float log_sum) {
  const int64_t end = round_up(seen, kLanes);
#pragma omp simd
  for (int64_t j = 0; j < end; ++j) row[j] = exponential(row[j] - log_sum);
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

/// One block of queries against all that it sees; its output before the division by the sums.
struct ForwardBlock {
  float *q, *rows, *weights;  // [kBlock, size] twice, [kBlock, kKeys]
  RowSum sums[kBlock];
};

HYPENET_INLINE void forward_block(int64_t first, int64_t size, const float* k_panels,
                                  const float* v_rows, ForwardBlock& block) {
  for (RowSum& sum : block.sums) sum = {kUnseen, 0};
  for (int64_t x = 0; x < kBlock * size; ++x) block.rows[x] = 0;
  for (int64_t key = 0; key < first + kBlock; key += kKeys) {
    const int64_t width = smaller(kKeys, first + kBlock - key);
    multiply_panels(block.q, k_panels + key * size, width, size, block.weights, kKeys);
    for (int64_t i = 0; i < kBlock; ++i) {
      const int64_t seen = smaller(width, first + i + 1 - key);
      const float factor = exponentiate_row(block.weights + i * kKeys, seen, width, block.sums[i]);
      if (factor == 1.0F) continue;
#pragma omp simd
      for (int64_t j = 0; j < size; ++j) block.rows[i * size + j] *= factor;
    }
    multiply(kBlock, size, width, {block.weights, kKeys, 1}, v_rows + key * size, size, block.rows,
             size, true);
  }
}

}  // namespace

int64_t attention_scratch(int64_t tokens, int64_t size) {
  const int64_t padded = round_up(tokens, kBlock);
  const int64_t forward = 2 * padded * size + kBlock * kKeys + 2 * kBlock * size;
  const int64_t backward = 5 * padded * size + 2 * kBlock * (padded + kSkew) + 3 * kBlock * size;
  return std::max(forward, backward);
}

HYPENET_VECTORIZED
void attention_forward(const AttentionParams& params, float* memory) {
  const int64_t tokens = params.tokens, size = params.size;
  const int64_t padded = round_up(tokens, kBlock);
  Pieces pieces{memory};
  float *const k_panels = pieces.take(padded * size), *const v_rows = pieces.take(padded * size);
  ForwardBlock block{.q = pieces.take(kBlock * size),
                     .rows = pieces.take(kBlock * size),
                     .weights = pieces.take(kBlock * kKeys),
                     .sums = {}};
  pack_panels(params.k, params.key_token, tokens, size, k_panels);
  pack_rows(params.v, params.key_token, tokens, padded, size, 1.0F, v_rows);
  for (int64_t member = 0; member < params.group; ++member) {
    for (int64_t first = 0; first < tokens; first += kBlock) {
      const int64_t rows = smaller(kBlock, tokens - first);
      const int64_t offset = first * params.query_token + member * size;
      pack_rows(params.q + offset, params.query_token, rows, kBlock, size, params.scale, block.q);
      forward_block(first, size, k_panels, v_rows, block);
      for (int64_t i = 0; i < rows; ++i) {
        const RowSum& sum = block.sums[i];
        params.log_sums[member * tokens + first + i] = sum.largest + std::log(sum.sum);
        unpack(block.rows + i * size, 1, size, 1.0F / sum.sum, 0,
               params.output + offset + i * params.query_token);
      }
    }
  }
}

HYPENET_VECTORIZED
void attention_backward(const AttentionBackwardParams& params, float* memory) {
  const int64_t tokens = params.tokens, size = params.size;
  const int64_t padded = round_up(tokens, kBlock), stride = padded + kSkew;
  Pieces pieces{memory};
  float *const k_panels = pieces.take(padded * size), *const v_panels = pieces.take(padded * size);
  float* const k_rows = pieces.take(padded * size);
  float *const dk = pieces.take(padded * size), *const dv = pieces.take(padded * size);
  float* const weights = pieces.take(kBlock * stride);
  float* const dweights = pieces.take(kBlock * stride);
  float *const q = pieces.take(kBlock * size), *const dq = pieces.take(kBlock * size);
  float* const drows = pieces.take(kBlock * size);
  pack_panels(params.k, params.key_token, tokens, size, k_panels);
  pack_panels(params.v, params.key_token, tokens, size, v_panels);
  pack_rows(params.k, params.key_token, tokens, padded, size, 1.0F, k_rows);
  for (int64_t x = 0; x < padded * size; ++x) dk[x] = dv[x] = 0;
  for (int64_t member = 0; member < params.group; ++member) {
    for (int64_t first = 0; first < tokens; first += kBlock) {
      const int64_t rows = smaller(kBlock, tokens - first), width = first + kBlock;
      const int64_t offset = first * params.query_token + member * size;
      pack_rows(params.q + offset, params.query_token, rows, kBlock, size, params.scale, q);
      pack_rows(params.doutput + offset, params.query_token, rows, kBlock, size, 1.0F, drows);
      multiply_panels(q, k_panels, width, size, weights, stride);
      multiply_panels(drows, v_panels, width, size, dweights, stride);
      for (int64_t i = 0; i < kBlock; ++i) {
        float* const row = weights + i * stride;
        const int64_t seen = i < rows ? first + i + 1 : 0;
        const float log_sum = i < rows ? params.log_sums[member * tokens + first + i] : 0.0F;
        softmax_row(row, seen, width, log_sum);
        softmax_gradient_row(row, dweights + i * stride, width);
      }
      multiply(kBlock, size, width, {dweights, stride, 1}, k_rows, size, dq, size, false);
      unpack(dq, rows, size, params.scale, params.query_token, params.dq + offset);
      multiply(width, size, kBlock, {dweights, 1, stride}, q, size, dk, size, true);
      multiply(width, size, kBlock, {weights, 1, stride}, drows, size, dv, size, true);
    }
  }
  unpack(dk, tokens, size, 1.0F, params.key_token, params.dk);
  unpack(dv, tokens, size, 1.0F, params.key_token, params.dv);
}

}  // namespace hypenet::kernels
