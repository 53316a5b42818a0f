// Keys and values of a block, brought from their pages into the order that products read them in.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

#include "kernels/cpu/vectorize.h"

namespace hypenet::kernels {

constexpr int64_t kKeys = 64;  // a block

/// Eight words in memory at any word's address.
typedef uint32_t EightWords __attribute__((vector_size(32), aligned(4), may_alias));

/// In place: words[i] lane j becomes words[j] lane i.
HYPENET_INLINE void transpose_words(EightWords (&words)[8]) {
  EightWords pairs[8], quads[8];
  for (int i = 0; i < 8; i += 2) {
    const EightWords a = words[i], b = words[i + 1];
    pairs[i] = __builtin_shufflevector(a, b, 0, 8, 1, 9, 4, 12, 5, 13);
    pairs[i + 1] = __builtin_shufflevector(a, b, 2, 10, 3, 11, 6, 14, 7, 15);
  }
  for (int i = 0; i < 8; i += 4) {
    for (int half = 0; half < 2; ++half) {
      const EightWords a = pairs[i + half], b = pairs[i + 2 + half];
      quads[i + 2 * half] = __builtin_shufflevector(a, b, 0, 1, 8, 9, 4, 5, 12, 13);
      quads[i + 2 * half + 1] = __builtin_shufflevector(a, b, 2, 3, 10, 11, 6, 7, 14, 15);
    }
  }
  for (int i = 0; i < 4; ++i) {
    const EightWords a = quads[i], b = quads[i + 4];
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
/// of a float32 cache, or two of a bfloat16 one, which stay together unless they are widened: then
/// `to` is [size / 2, kKeys].
HYPENET_INLINE void transpose_keys(const Rows& keys, bool is_widened, float* to) {
  const int64_t words = keys.bytes / 4;
  for (int64_t key = 0; key < kKeys; key += 8) {
    for (int64_t i = 0; i < 8; ++i) keys.prefetch(key + i);
    for (int64_t word = 0; word < words; word += 8) {
      EightWords block[8];
      for (int64_t i = 0; i < 8; ++i) {
        block[i] = EightWords{};
        if (key + i < keys.count) {
          block[i] = *reinterpret_cast<const EightWords*>(keys.at(key + i) + word);
        }
      }
      transpose_words(block);
      for (int64_t i = 0; i < 8; ++i) {
        if (is_widened) {
          float* const pair = to + 2 * (word + i) * kKeys + key;
          *reinterpret_cast<EightWords*>(pair) = block[i] << 16;
          *reinterpret_cast<EightWords*>(pair + kKeys) = block[i] & 0xFFFF0000U;
        } else {
          *reinterpret_cast<EightWords*>(to + (word + i) * kKeys + key) = block[i];
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

/// to [count / 2 rounded up, size] of words: a bfloat16 value and the one below it, zero below the
/// last.
HYPENET_INLINE void pair_values(const Rows& values, int64_t size, uint32_t* to) {
  for (int64_t i = 0; i < values.count; i += 2) {
    values.prefetch(i);
    const bool is_last = i + 1 == values.count;
    if (!is_last) values.prefetch(i + 1);
    const uint16_t* const upper = reinterpret_cast<const uint16_t*>(values.at(i));
    const uint16_t* const lower = reinterpret_cast<const uint16_t*>(values.at(is_last ? i : i + 1));
    const uint32_t mask = is_last ? 0 : 0xFFFFFFFFU;
    uint32_t* const line = to + i / 2 * size;
#pragma omp simd
    for (int64_t j = 0; j < size; ++j) {
      line[j] = uint32_t{upper[j]} | ((static_cast<uint32_t>(lower[j]) << 16) & mask);
    }
  }
}

}  // namespace hypenet::kernels
