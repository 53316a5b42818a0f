// float16 numbers in memory, and their values in float32.
#pragma once

#include <bit>
#include <cstdint>

#include "kernels/cpu/instructions.h"
#include "kernels/cpu/lanes.h"

namespace hypenet::kernels {

HYPENET_INLINE float wide_half(uint16_t x) {
  const uint32_t bits = (x & 0x7FFFU) << 13, sign = (x & 0x8000U) << 16;
  if (bits >= 0x0F800000U) return std::bit_cast<float>(bits | 0x7F800000U | sign);
  return std::bit_cast<float>(std::bit_cast<uint32_t>(std::bit_cast<float>(bits) * 0x1p112F) |
                              sign);
}

/// L of them.
template <int L>
HYPENET_INLINE void wide_halves(const uint8_t* from, Vector<L>& wide) {
  struct Halves {
    uint16_t numbers[L];
  };
  const auto& halves = *reinterpret_cast<const Halves*>(from);
#ifdef HYPENET_INSTRUCTIONS
  if constexpr (L >= 8) {
    asm("vcvtph2ps %1, %0" : "=v"(wide) : "m"(halves));
    return;
  }
#endif
  for (int i = 0; i < L; ++i) wide[i] = wide_half(halves.numbers[i]);
}

}  // namespace hypenet::kernels
