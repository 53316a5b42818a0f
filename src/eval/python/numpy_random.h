// numpy.random as it was before its generators had names: seed(n), then randint.
#pragma once

#include <bit>
#include <cstdint>

#include "eval/python/mersenne_twister.h"

namespace hypenet {

class NumpyRandom {
 public:
  explicit NumpyRandom(uint32_t seed) : twister_(seed) {}

  /// randint(low, high): uniform in low .. high-1, 0 < high - low < 2^32.
  int64_t below(int64_t low, int64_t high) {
    const auto most = static_cast<uint32_t>(high - low - 1);
    if (most == 0) return low;
    const uint32_t mask = UINT32_MAX >> std::countl_zero(most);
    uint32_t drawn = twister_.next() & mask;
    while (drawn > most) drawn = twister_.next() & mask;
    return low + drawn;
  }

 private:
  MersenneTwister twister_;
};

}  // namespace hypenet
