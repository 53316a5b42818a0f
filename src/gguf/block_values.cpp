// A function a type, each as ggml defines its block: d and m are scales, q the integers.
#include <bit>
#include <cstring>

#include "gguf/block_type.h"

namespace hypenet {
namespace {

constexpr int kSmall = 32, kLarge = 256;  // values of a block

int byte_at(const std::byte* bytes, int i) { return std::to_integer<int>(bytes[i]); }
int low(int byte) { return byte & 15; }
int high(int byte) { return byte >> 4; }
int signed_at(const std::byte* bytes, int i) { return static_cast<int8_t>(byte_at(bytes, i)); }

float bfloat16_at(const std::byte* bytes) {
  uint16_t bits = 0;
  std::memcpy(&bits, bytes, sizeof bits);
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

float half_at(const std::byte* bytes) {
  constexpr float kSubnormal = 0x1p-24F;
  uint16_t bits = 0;
  std::memcpy(&bits, bytes, sizeof bits);
  const uint32_t sign = (bits & 0x8000U) << 16, exponent = (bits >> 10) & 31U;
  const uint32_t fraction = bits & 0x3FFU;
  if (exponent == 0) {
    const float value = static_cast<float>(fraction) * kSubnormal;
    return sign == 0 ? value : -value;
  }
  const uint32_t wide = exponent == 31 ? 255 : exponent + 112;
  return std::bit_cast<float>(sign | (wide << 23) | (fraction << 13));
}

void expand_f32(const std::byte* block, float* y) { std::memcpy(y, block, sizeof *y); }
void expand_f16(const std::byte* block, float* y) { *y = half_at(block); }
void expand_bf16(const std::byte* block, float* y) { *y = bfloat16_at(block); }

void expand_q40(const std::byte* block, float* y) {
  const float d = half_at(block);
  const std::byte* const nibbles = block + 2;
  for (int i = 0; i < kSmall / 2; ++i) {
    y[i] = d * static_cast<float>(low(byte_at(nibbles, i)) - 8);
    y[i + kSmall / 2] = d * static_cast<float>(high(byte_at(nibbles, i)) - 8);
  }
}

void expand_q41(const std::byte* block, float* y) {
  const float d = half_at(block), m = half_at(block + 2);
  const std::byte* const nibbles = block + 4;
  for (int i = 0; i < kSmall / 2; ++i) {
    y[i] = d * static_cast<float>(low(byte_at(nibbles, i))) + m;
    y[i + kSmall / 2] = d * static_cast<float>(high(byte_at(nibbles, i))) + m;
  }
}

/// The fifth bits and the nibbles of Q5_0 and Q5_1.
template <class Value>
void expand_five_bits(const std::byte* fifths, float* y, const Value& value) {
  uint32_t bits = 0;
  std::memcpy(&bits, fifths, sizeof bits);
  const std::byte* const nibbles = fifths + 4;
  const auto fifth = [bits](int i) { return static_cast<int>((bits >> i) & 1U) << 4; };
  for (int i = 0; i < kSmall / 2; ++i) {
    y[i] = value(low(byte_at(nibbles, i)) | fifth(i));
    y[i + kSmall / 2] = value(high(byte_at(nibbles, i)) | fifth(i + kSmall / 2));
  }
}

void expand_q50(const std::byte* block, float* y) {
  const float d = half_at(block);
  expand_five_bits(block + 2, y, [d](int q) { return d * static_cast<float>(q - 16); });
}

void expand_q51(const std::byte* block, float* y) {
  const float d = half_at(block), m = half_at(block + 2);
  expand_five_bits(block + 4, y, [d, m](int q) { return d * static_cast<float>(q) + m; });
}

void expand_q80(const std::byte* block, float* y) {
  const float d = half_at(block);
  for (int i = 0; i < kSmall; ++i) y[i] = d * static_cast<float>(signed_at(block + 2, i));
}

/// Q2_K, Q3_K and Q6_K: of each half of 128 values four runs of 32, whose bits lie in the same
/// bytes, and of each run two sub-blocks of 16. Calls expand(half, run, sub-block, values of the
/// sub-block, their place in the run).
template <class Expand>
void each_sub_block(float* y, const Expand& expand) {
  for (int half = 0; half < 2; ++half) {
    for (int run = 0; run < 4; ++run) {
      for (int part = 0; part < 2; ++part, y += 16) {
        expand(half, run, half * 8 + run * 2 + part, y, part * 16);
      }
    }
  }
}

void expand_q2k(const std::byte* block, float* y) {
  const std::byte *const scales = block, *const pairs = block + 16;
  const float d = half_at(block + 80), dmin = half_at(block + 82);
  each_sub_block(y, [&](int half, int run, int j, float* values, int place) {
    const int both = byte_at(scales, j);
    const float step = d * static_cast<float>(low(both));
    const float offset = dmin * static_cast<float>(high(both));
    const std::byte* const bits = pairs + half * 32 + place;
    for (int i = 0; i < 16; ++i) {
      values[i] = step * static_cast<float>((byte_at(bits, i) >> (run * 2)) & 3) - offset;
    }
  });
}

/// The 16 scales of six bits: four bits in the first eight bytes, two in the last four.
int scale_of_q3k(const std::byte* scales, int j) {
  const int first = byte_at(scales, j % 8);
  const int upper = (byte_at(scales, 8 + j % 4) >> (j / 4 * 2)) & 3;
  return ((j < 8 ? low(first) : high(first)) | upper << 4) - 32;
}

void expand_q3k(const std::byte* block, float* y) {
  const std::byte *const thirds = block, *const pairs = block + 32, *const scales = block + 96;
  const float d = half_at(block + 108);
  each_sub_block(y, [&](int half, int run, int j, float* values, int place) {
    const float step = d * static_cast<float>(scale_of_q3k(scales, j));
    const std::byte *const bits = pairs + half * 32 + place, *const more = thirds + place;
    for (int i = 0; i < 16; ++i) {
      const int pair = (byte_at(bits, i) >> (run * 2)) & 3;
      const int third = (byte_at(more, i) >> (half * 4 + run)) & 1;
      values[i] = step * static_cast<float>(pair + third * 4 - 4);
    }
  });
}

struct ScaleAndLeast {
  int scale, least;
};

/// The eight scales and minima of six bits each that Q4_K and Q5_K have in twelve bytes.
ScaleAndLeast scale_of_k(const std::byte* s, int j) {
  if (j < 4) return {byte_at(s, j) & 63, byte_at(s, j + 4) & 63};
  return {low(byte_at(s, j + 4)) | (byte_at(s, j - 4) >> 6) << 4,
          high(byte_at(s, j + 4)) | (byte_at(s, j) >> 6) << 4};
}

/// Sub-blocks 2j and 2j + 1 are the low and the high nibbles of the same 32 bytes; `fifths` has bit
/// j of each byte for sub-block j.
void expand_q4k_or_q5k(const std::byte* block, const std::byte* fifths, const std::byte* nibbles,
                       float* y) {
  const float d = half_at(block), dmin = half_at(block + 2);
  for (int j = 0; j < 8; ++j) {
    const auto [scale, least] = scale_of_k(block + 4, j);
    const float step = d * static_cast<float>(scale), offset = dmin * static_cast<float>(least);
    for (int i = 0; i < 32; ++i) {
      const int byte = byte_at(nibbles, j / 2 * 32 + i);
      const int fifth = fifths == nullptr ? 0 : (byte_at(fifths, i) >> j) & 1;
      const int q = (j % 2 == 0 ? low(byte) : high(byte)) | fifth << 4;
      y[j * 32 + i] = step * static_cast<float>(q) - offset;
    }
  }
}

void expand_q4k(const std::byte* block, float* y) {
  expand_q4k_or_q5k(block, nullptr, block + 16, y);
}

void expand_q5k(const std::byte* block, float* y) {
  expand_q4k_or_q5k(block, block + 16, block + 48, y);
}

void expand_q6k(const std::byte* block, float* y) {
  const std::byte *const nibbles = block, *const uppers = block + 128, *const scales = block + 192;
  const float d = half_at(block + 208);
  each_sub_block(y, [&](int half, int run, int j, float* values, int place) {
    const float step = d * static_cast<float>(signed_at(scales, j));
    const std::byte* const lower = nibbles + half * 64 + run % 2 * 32 + place;
    const std::byte* const upper = uppers + half * 32 + place;
    for (int i = 0; i < 16; ++i) {
      const int four = (byte_at(lower, i) >> (run / 2 * 4)) & 15;
      const int two = (byte_at(upper, i) >> (run * 2)) & 3;
      values[i] = step * static_cast<float>((four | two << 4) - 32);
    }
  });
}

template <class Expand>
void each_block(const BlockLayout& layout, const std::byte* blocks, int64_t count, float* values,
                const Expand& expand) {
  for (int64_t i = 0; i < count; ++i) {
    expand(blocks + i * layout.bytes, values + i * layout.values);
  }
}

}  // namespace

void expand_blocks(BlockType type, const std::byte* blocks, int64_t count, float* values) {
  const BlockLayout& layout = block_layout(type);
  const auto run = [&](const auto& expand) { each_block(layout, blocks, count, values, expand); };
  switch (type) {
    case BlockType::kF32:
      return run(expand_f32);
    case BlockType::kF16:
      return run(expand_f16);
    case BlockType::kBF16:
      return run(expand_bf16);
    case BlockType::kQ40:
      return run(expand_q40);
    case BlockType::kQ41:
      return run(expand_q41);
    case BlockType::kQ50:
      return run(expand_q50);
    case BlockType::kQ51:
      return run(expand_q51);
    case BlockType::kQ80:
      return run(expand_q80);
    case BlockType::kQ2K:
      return run(expand_q2k);
    case BlockType::kQ3K:
      return run(expand_q3k);
    case BlockType::kQ4K:
      return run(expand_q4k);
    case BlockType::kQ5K:
      return run(expand_q5k);
    case BlockType::kQ6K:
      return run(expand_q6k);
  }
}

}  // namespace hypenet
