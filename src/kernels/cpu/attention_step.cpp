// Scores by columns of keys: the dot product runs over the head's elements in order, for any number
// of queries alike. A bfloat16 cache meets rounded queries and weights where the machine has
// vdpbf16ps; elsewhere it is widened block by block.
#include "kernels/attention_step.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/cpu/bfloat16.h"
#include "kernels/cpu/exponential.h"
#include "kernels/cpu/key_blocks.h"
#include "kernels/cpu/multiply_pairs.h"
#include "kernels/cpu/tile.h"

namespace hypenet::kernels {
namespace {

/// The same numbers as bfloat16 from the same address on, two a word; `count` is a multiple of 16.
HYPENET_INLINE void round_in_place(float* x, int64_t count) {
  constexpr int64_t kStep = 16;
  for (int64_t i = 0; i < count; i += kStep) {
    BFloat16 narrow[kStep];
#pragma omp simd
    for (int64_t j = 0; j < kStep; ++j) narrow[j] = rounded(x[i + j]);
    std::memcpy(reinterpret_cast<BFloat16*>(x) + i, narrow, sizeof narrow);
  }
}

constexpr float kLowest = std::numeric_limits<float>::lowest();

HYPENET_INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

/// Scores of a block become weights under the new largest one, 0 from `seen` on. Returns what to
/// multiply by what is there so far; every row takes the same steps whatever it sees.
HYPENET_INLINE float weigh(float* scores, int32_t seen, float* largest, float* sum) {
  float top = *largest;
#pragma omp simd reduction(max : top)
  for (int32_t j = 0; j < static_cast<int32_t>(kKeys); ++j) {
    const float score = j < seen ? scores[j] : kLowest;
    top = score > top ? score : top;
  }
  float total = 0;
#pragma omp simd reduction(+ : total)
  for (int32_t j = 0; j < static_cast<int32_t>(kKeys); ++j) {
    const float weight = exponential(scores[j] - top);
    scores[j] = j < seen ? weight : 0.0F;
    total += scores[j];
  }
  const float factor = exponential(*largest - top);
  *largest = top;
  *sum = *sum * factor + total;
  return factor;
}

/// The pieces of a part.
struct Part {
  HYPENET_INLINE Part(float* memory, int64_t count, int64_t size)
      : o(memory), largest(memory + count * size), sums(largest + count) {}
  float *o, *largest, *sums;  // [queries, size], [queries], [queries]
};

/// Query heads of a key head.
HYPENET_INLINE int64_t group_of(const AttentionStepParams& params) {
  return params.heads / params.pages.heads;
}

HYPENET_INLINE int64_t queries_of(const AttentionStepParams& params,
                                  const AttentionStepTask& task) {
  return round_up(task.rows * group_of(params), kTileRows);
}

/// Where token `token` of a slot and key head lies, in elements.
HYPENET_INLINE int64_t place_of(const AttentionStepParams& params, int64_t slot, int64_t token,
                                int64_t key_head) {
  const KvPageParams& pages = params.pages;
  const int64_t page = params.page_table[slot * params.table_width + token / pages.page_tokens];
  const int64_t row = page * pages.page_tokens + token % pages.page_tokens;
  return (row * pages.heads + key_head) * pages.size;
}

/// Where a task's queries, gates or outputs lie: those of a row stand together.
HYPENET_INLINE int64_t row_at(const AttentionStepParams& params, const AttentionStepTask& task,
                              int64_t row) {
  return ((task.first_row + row) * params.heads + task.key_head * group_of(params)) *
         params.pages.size;
}

/// y = factor * rotate(norm(x) * weight), one head of a row.
HYPENET_INLINE void ready_head(const AttentionStepParams& params, int64_t row, const float* x,
                               const void* given_weight, float factor, float* y) {
  const int64_t size = params.pages.size, half = size / 2;
  const float* const weight = static_cast<const float*>(given_weight);
  if (weight != nullptr) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < size; ++i) sum += x[i] * x[i];
    factor *= 1.0F / std::sqrt(sum / static_cast<float>(size) + params.eps);
#pragma omp simd
    for (int64_t i = 0; i < size; ++i) y[i] = x[i] * factor * weight[i];
  } else {
#pragma omp simd
    for (int64_t i = 0; i < size; ++i) y[i] = x[i] * factor;
  }
  if (params.cos == nullptr) return;
  const float* const cos = params.cos + row * half;
  const float* const sin = params.sin + row * half;
#pragma omp simd
  for (int64_t i = 0; i < half; ++i) {
    const float a = y[i], b = y[half + i];
    y[i] = a * cos[i] - b * sin[i];
    y[half + i] = b * cos[i] + a * sin[i];
  }
}

/// Puts x [count] at element `place` of keys or values.
HYPENET_INLINE void store_elements(const float* x, int64_t count, DType type, int64_t place,
                                   void* pages) {
  if (type == DType::kFloat32) {
    std::memcpy(static_cast<float*>(pages) + place, x, static_cast<size_t>(count) * sizeof(float));
    return;
  }
  uint16_t* const to = static_cast<uint16_t*>(pages) + place;
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) to[i] = rounded(x[i]);
}

/// What a block of keys is worked on in: its queries, keys and values are float32, or with pairs
/// bfloat16 in words of two.
struct Block {
  HYPENET_INLINE Block(float* scratch, int64_t queries, int64_t size, bool is_narrow)
      : queries(queries),
        size(size),
        is_narrow(is_narrow),
        has_pairs(is_narrow && has_bfloat16_dots()),
        q(scratch),
        keys(q + queries * size),
        values(keys + kKeys * size),
        weights(values + kKeys * size) {}

  /// weights [queries, kKeys] = q k^T.
  HYPENET_INLINE void score(const Rows& rows) const {
    transpose_keys(rows, is_narrow && !has_pairs, keys);
#ifdef HYPENET_BFLOAT16_DOTS
    if (has_pairs) {
      return multiply_pairs(queries, kKeys, size / 2, words(q), size / 2, words(keys), weights,
                            false);
    }
#endif
    multiply(queries, kKeys, size, {q, size, 1}, keys, kKeys, weights, kKeys, false);
  }

  /// o [queries, size] += weights v; rounds the weights.
  HYPENET_INLINE void add_values(const Rows& rows, float* o) const {
#ifdef HYPENET_BFLOAT16_DOTS
    if (has_pairs) {
      pair_values(rows, size, words(values));
      round_in_place(weights, queries * kKeys);
      return multiply_pairs(queries, size, (rows.count + 1) / 2, words(weights), kKeys / 2,
                            words(values), o, true);
    }
#endif
    widen_values(rows, is_narrow, size, values);
    multiply(queries, size, rows.count, {weights, kKeys, 1}, values, size, o, size, true);
  }

  HYPENET_INLINE static uint32_t* words(float* x) { return reinterpret_cast<uint32_t*>(x); }

  int64_t queries, size;
  bool is_narrow, has_pairs;
  float *q, *keys, *values, *weights;
};

}  // namespace

HYPENET_VECTORIZED
void ready_step_rows(const AttentionStepParams& params, int64_t begin, int64_t end, float* q) {
  const KvPageParams& pages = params.pages;
  const int64_t size = pages.size, width = pages.heads * size;
  const float root = static_cast<float>(1 / std::sqrt(static_cast<double>(size)));
  for (int64_t row = begin; row < end; ++row) {
    if (params.slots[row] < 0) continue;
    float* const queries = q + row * params.heads * size;
    const float* const given = static_cast<const float*>(params.q) + row * params.heads * size;
    const float* const keys = static_cast<const float*>(params.k) + row * width;
    const float* const values = static_cast<const float*>(params.v) + row * width;
    const int64_t place = place_of(params, params.slots[row], params.positions[row], 0);
    // The queries' room holds the keys until these are in their page.
    for (int64_t i = 0; i < width; i += size) {
      ready_head(params, row, keys + i, params.k_weight, 1.0F, queries + i);
    }
    store_elements(queries, width, pages.type, place, pages.keys);
    store_elements(values, width, pages.type, place, pages.values);
    const float scale = params.query_scale != nullptr ? params.query_scale[row] : 1.0F;
    for (int64_t i = 0; i < params.heads * size; i += size) {
      ready_head(params, row, given + i, params.q_weight, root * scale, queries + i);
    }
  }
}

int64_t attention_step_splits(const AttentionStepParams& params, const AttentionStepTask& task) {
  return params.positions[task.first_row + task.rows - 1] / kSplitTokens + 1;
}

int64_t attention_step_part(const AttentionStepParams& params, const AttentionStepTask& task) {
  return queries_of(params, task) * (params.pages.size + 2);
}

int64_t attention_step_scratch(const AttentionStepParams& params, const AttentionStepTask& task) {
  const int64_t queries = queries_of(params, task), size = params.pages.size;
  return queries * (size + kKeys) + 2 * kKeys * size;  // q, weights, keys and values
}

HYPENET_VECTORIZED
void attention_step_split(const AttentionStepParams& params, const AttentionStepTask& task,
                          int64_t split, float* memory, float* scratch) {
  const KvPageParams& pages = params.pages;
  const int64_t queries = queries_of(params, task), size = pages.size, group = group_of(params);
  const int32_t* const positions = params.positions + task.first_row;
  const int64_t slot = params.slots[task.first_row];
  const bool is_narrow = pages.type == DType::kBFloat16;
  const Part part(memory, queries, size);
  const Block block(scratch, queries, size, is_narrow);
  for (int64_t row = 0; row < task.rows; ++row) {
    pack_rows(static_cast<const float*>(params.q) + row_at(params, task, row), size, group, group,
              size, 1.0F, block.q + row * group * size);
  }
  for (int64_t i = task.rows * group * size; i < queries * size; ++i) block.q[i] = 0;
  if (block.has_pairs) round_in_place(block.q, queries * size);
  for (int64_t i = 0; i < queries * size; ++i) part.o[i] = 0;
  for (int64_t i = 0; i < queries; ++i) part.largest[i] = kLowest, part.sums[i] = 0;

  const int64_t bytes = is_narrow ? 2 : 4;  // of an element
  const int64_t next_head = smaller(task.key_head + 1, pages.heads - 1);
  const int64_t begin = split * kSplitTokens;
  const int64_t end = smaller(begin + kSplitTokens, int64_t{positions[task.rows - 1]} + 1);
  int64_t next_place = place_of(params, slot, begin, task.key_head) * bytes;
  for (int64_t first = begin; first < end; first += kKeys) {
    const int64_t count = smaller(kKeys, end - first), place = next_place;
    // After the split comes, as a rule, the same split of the next key head.
    const bool is_last = first + kKeys >= end;
    next_place = bytes * (is_last ? place_of(params, slot, begin, next_head)
                                  : place_of(params, slot, first + kKeys, task.key_head));
    const auto rows_of = [&](const void* cache) {
      const char* const data = static_cast<const char*>(cache);
      return Rows{data + place, data + next_place, pages.heads * size * bytes, size * bytes, count};
    };
    block.score(rows_of(pages.keys));
    for (int64_t i = 0; i < queries; ++i) {
      const int64_t row = smaller(i / group, task.rows - 1);
      const int64_t seen = smaller(positions[row] + 1 - first, kKeys);
      const float factor =
          weigh(block.weights + i * kKeys, static_cast<int32_t>(seen < 0 ? 0 : seen),
                part.largest + i, part.sums + i);
      float* const o = part.o + i * size;
#pragma omp simd
      for (int64_t j = 0; j < size; ++j) o[j] *= factor;
    }
    block.add_values(rows_of(pages.values), part.o);
  }
}

HYPENET_VECTORIZED
void add_attention_part(const AttentionStepParams& params, const AttentionStepTask& task,
                        float* total_memory, const float* part_memory) {
  const int64_t queries = queries_of(params, task), size = params.pages.size;
  const Part total(total_memory, queries, size);
  const Part part(const_cast<float*>(part_memory), queries, size);
  for (int64_t i = 0; i < queries; ++i) {
    const float a = total.largest[i], b = part.largest[i], top = a > b ? a : b;
    const float old_factor = exponential(a - top), factor = exponential(b - top);
    total.largest[i] = top;
    total.sums[i] = total.sums[i] * old_factor + part.sums[i] * factor;
#pragma omp simd
    for (int64_t j = i * size; j < (i + 1) * size; ++j) {
      total.o[j] = total.o[j] * old_factor + part.o[j] * factor;
    }
  }
}

HYPENET_VECTORIZED
void finish_attention_step(const AttentionStepParams& params, const AttentionStepTask& task,
                           const float* memory) {
  const int64_t queries = queries_of(params, task), size = params.pages.size;
  const Part total(const_cast<float*>(memory), queries, size);
  const int64_t group = group_of(params);
  for (int64_t i = 0; i < task.rows * group; ++i) {
    const int64_t at = row_at(params, task, i / group) + i % group * size;
    const float inverse = 1.0F / total.sums[i];
    const float* const from = total.o + i * size;
    float* const o = static_cast<float*>(params.o) + at;
    if (params.gate == nullptr) {
#pragma omp simd
      for (int64_t j = 0; j < size; ++j) o[j] = from[j] * inverse;
    } else {
      const float* const gate = static_cast<const float*>(params.gate) + at;
#pragma omp simd
      for (int64_t j = 0; j < size; ++j) o[j] = from[j] * inverse * sigmoid(gate[j]);
    }
  }
}

}  // namespace hypenet::kernels
