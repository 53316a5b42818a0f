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

}  // namespace hypenet::kernels
