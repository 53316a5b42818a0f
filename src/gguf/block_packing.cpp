// Numbers to blocks, each type as ggml defines its nearest rounding; the inverse of
// block_values.cpp.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <span>

#include "base/error.h"
#include "gguf/block_type.h"

namespace hypenet {
namespace {

constexpr int kValues = 32;  // of a block

/// float16 nearest to the value, ties to even; its bits.
uint16_t half_bits(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = (bits >> 16) & 0x8000U, magnitude = bits & 0x7FFFFFFFU;
  constexpr uint32_t kLeastNormal = 0x38800000U;  // 2^-14
  constexpr uint32_t kFirstBeyond = 0x477FF000U;  // 65520, which rounds to infinity
  if (magnitude >= kFirstBeyond) return static_cast<uint16_t>(sign | 0x7C00U);
  if (magnitude < kLeastNormal) {
    // Added to 0.5, whose last bit is 2^-24, the value is rounded to subnormal steps.
    const float rounded = std::bit_cast<float>(magnitude) + 0.5F;
    return static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(rounded) - 0x3F000000U));
  }
  const uint32_t odd = (magnitude >> 13) & 1U;
  return static_cast<uint16_t>(sign | ((magnitude - 0x38000000U + 0xFFFU + odd) >> 13));
}

void put_half(float value, std::byte* bytes) {
  const uint16_t bits = half_bits(value);
  std::memcpy(bytes, &bits, sizeof bits);
}

/// 0 where the numbers are 0, or so small that their scale is 0 in float16.
float inverse(float scale) { return std::isfinite(1 / scale) ? 1 / scale : 0; }

/// q = x 127 / max |x|, halves away from zero.
void pack_q80(std::span<const float> x, std::byte* block) {
  float most = 0;
  for (const float value : x) most = std::max(most, std::abs(value));
  const float scale = most / 127, factor = inverse(scale);
  put_half(scale, block);
  for (int i = 0; i < kValues; ++i) {
    block[2 + i] = static_cast<std::byte>(static_cast<int8_t>(std::round(x[i] * factor)));
  }
}

/// q = 8 - 8 x / m, where m is the value with the largest magnitude, which becomes 0.
void pack_q40(std::span<const float> x, std::byte* block) {
  float largest = 0;
  for (const float value : x) {
    if (std::abs(value) > std::abs(largest)) largest = value;
  }
  const float scale = largest / -8, factor = inverse(scale);
  put_half(scale, block);
  const auto nibble = [&](int i) {
    return std::min(15U, static_cast<unsigned>(x[i] * factor + 8.5F));
  };
  for (int i = 0; i < kValues / 2; ++i) {
    block[2 + i] = static_cast<std::byte>(nibble(i) | nibble(i + kValues / 2) << 4);
  }
}

template <class Pack>
void each_block(const float* values, int64_t count, std::byte* blocks, int64_t bytes,
                const Pack& pack) {
  for (int64_t i = 0; i < count; ++i) {
    pack(std::span(values + i * kValues, kValues), blocks + i * bytes);
  }
}

}  // namespace

bool is_packed_here(BlockType type) { return type == BlockType::kQ80 || type == BlockType::kQ40; }

void pack_blocks(BlockType type, const float* values, int64_t count, std::byte* blocks) {
  HYPENET_CHECK(is_packed_here(type), "pack_blocks: expected Q8_0 or Q4_0, found ",
                block_layout(type).name);
  const int64_t bytes = block_layout(type).bytes;
  if (type == BlockType::kQ80) {
    each_block(values, count, blocks, bytes, pack_q80);
  } else {
    each_block(values, count, blocks, bytes, pack_q40);
  }
}

}  // namespace hypenet
