// Scores by columns of keys: the dot product runs over the head's elements in order, for any number
// of queries alike. A bfloat16 cache is widened block by block.
#include "kernels/attention_step.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/cpu/exponential.h"
#include "kernels/cpu/tile.h"

namespace hypenet::kernels {
namespace {

constexpr int64_t kKeys = 64;  // a block
constexpr float kLowest = std::numeric_limits<float>::lowest();

/// Eight words in memory at any word's address.
typedef uint32_t Words __attribute__((vector_size(32), aligned(4), may_alias));

HYPENET_INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

HYPENET_INLINE uint16_t rounded(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  const uint32_t up = bits + 0x7FFFU + (bits >> 16 & 1U);
  return static_cast<uint16_t>((x == x ? up : bits | 0x400000U) >> 16);
}

/// In place: words[i] lane j becomes words[j] lane i.
HYPENET_INLINE void transpose_words(Words (&words)[8]) {
  Words pairs[8], quads[8];
  for (int i = 0; i < 8; i += 2) {
    const Words a = words[i], b = words[i + 1];
    pairs[i] = __builtin_shufflevector(a, b, 0, 8, 1, 9, 4, 12, 5, 13);
    pairs[i + 1] = __builtin_shufflevector(a, b, 2, 10, 3, 11, 6, 14, 7, 15);
  }
  for (int i = 0; i < 8; i += 4) {
    for (int half = 0; half < 2; ++half) {
      const Words a = pairs[i + half], b = pairs[i + 2 + half];
      quads[i + 2 * half] = __builtin_shufflevector(a, b, 0, 1, 8, 9, 4, 5, 12, 13);
      quads[i + 2 * half + 1] = __builtin_shufflevector(a, b, 2, 3, 10, 11, 6, 7, 14, 15);
    }
  }
  for (int i = 0; i < 4; ++i) {
    const Words a = quads[i], b = quads[i + 4];
    words[i] = __builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11);
    words[i + 4] = __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15);
  }
}

/// Keys or values of a block, and where those of the next one lie: they are asked for meanwhile,
/// since no hardware guesses a stride of all key heads.
struct Rows {
  HYPENET_INLINE const uint32_t* at(int64_t row) const {
    return reinterpret_cast<const uint32_t*>(data + row * row_bytes);
  }
  HYPENET_INLINE void prefetch(int64_t row) const {
    constexpr int64_t kLine = 64;
    for (int64_t byte = 0; byte < bytes; byte += kLine) {
      __builtin_prefetch(next + row * row_bytes + byte, 0, 2);
    }
  }
  const char *data, *next;
  int64_t row_bytes, bytes, count;  // from a row to the next, of a row's head, rows
};

/// to [size, kKeys] float32 = the transpose of the keys; zeros on the right. A word is one element
/// of a float32 cache or two of a bfloat16 one.
HYPENET_INLINE void transpose_keys(const Rows& keys, bool is_narrow, float* to) {
  const int64_t words = keys.bytes / 4;
  for (int64_t key = 0; key < kKeys; key += 8) {
    for (int64_t i = 0; i < 8; ++i) keys.prefetch(key + i);
    for (int64_t word = 0; word < words; word += 8) {
      Words block[8];
      for (int64_t i = 0; i < 8; ++i) {
        block[i] = Words{};
        if (key + i < keys.count) {
          block[i] = *reinterpret_cast<const Words*>(keys.at(key + i) + word);
        }
      }
      transpose_words(block);
      for (int64_t i = 0; i < 8; ++i) {
        if (is_narrow) {
          float* const pair = to + 2 * (word + i) * kKeys + key;
          *reinterpret_cast<Words*>(pair) = block[i] << 16;
          *reinterpret_cast<Words*>(pair + kKeys) = block[i] & 0xFFFF0000U;
        } else {
          *reinterpret_cast<Words*>(to + (word + i) * kKeys + key) = block[i];
        }
      }
    }
  }
}

/// to [count, size] float32 = the values.
HYPENET_INLINE void widen_values(const Rows& values, bool is_narrow, int64_t size, float* to) {
  for (int64_t i = 0; i < values.count; ++i) {
    values.prefetch(i);
    float* const line = to + i * size;
    if (!is_narrow) {
      std::memcpy(line, values.at(i), static_cast<size_t>(size) * sizeof(float));
      continue;
    }
    const uint16_t* const narrow = reinterpret_cast<const uint16_t*>(values.at(i));
#pragma omp simd
    for (int64_t j = 0; j < size; ++j) {
      line[j] = std::bit_cast<float>(static_cast<uint32_t>(narrow[j]) << 16);
    }
  }
}

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
  const Part part(memory, queries, size);
  float *const q = scratch, *const keys = q + queries * size, *const values = keys + kKeys * size;
  float* const weights = values + kKeys * size;  // [queries, kKeys]
  for (int64_t row = 0; row < task.rows; ++row) {
    pack_rows(static_cast<const float*>(params.q) + row_at(params, task, row), size, group, group,
              size, 1.0F, q + row * group * size);
  }
  for (int64_t i = task.rows * group * size; i < queries * size; ++i) q[i] = 0;
  for (int64_t i = 0; i < queries * size; ++i) part.o[i] = 0;
  for (int64_t i = 0; i < queries; ++i) part.largest[i] = kLowest, part.sums[i] = 0;

  const bool is_narrow = pages.type == DType::kBFloat16;
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
    transpose_keys(rows_of(pages.keys), is_narrow, keys);
    widen_values(rows_of(pages.values), is_narrow, size, values);
    multiply(queries, kKeys, size, {q, size, 1}, keys, kKeys, weights, kKeys, false);
    for (int64_t i = 0; i < queries; ++i) {
      const int64_t row = smaller(i / group, task.rows - 1);
      const int64_t seen = smaller(positions[row] + 1 - first, kKeys);
      const float factor = weigh(weights + i * kKeys, static_cast<int32_t>(seen < 0 ? 0 : seen),
                                 part.largest + i, part.sums + i);
      float* const o = part.o + i * size;
#pragma omp simd
      for (int64_t j = 0; j < size; ++j) o[j] *= factor;
    }
    multiply(queries, size, count, {weights, kKeys, 1}, values, size, part.o, size, true);
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
