// bfloat16 numbers in memory, and their value: the upper half of a float's bits.
#pragma once

#include <bit>
#include <cstdint>

#include "kernels/cpu/vectorize.h"

namespace hypenet::kernels {

using BFloat16 = uint16_t;

HYPENET_INLINE float wide(float x) { return x; }
HYPENET_INLINE float wide(BFloat16 x) {
  return std::bit_cast<float>(static_cast<uint32_t>(x) << 16);
}

/// To the nearest, of two equally near the even one; a NaN stays one.
HYPENET_INLINE BFloat16 rounded(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  const uint32_t up = bits + 0x7FFFU + (bits >> 16 & 1U);
  return static_cast<BFloat16>((x == x ? up : bits | 0x400000U) >> 16);
}

}  // namespace hypenet::kernels
