// MT19937 (Matsumoto and Nishimura 1998), the generator below Python's and numpy's.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace hypenet {

class MersenneTwister {
 public:
  /// Seeded with one number, as numpy.random.seed does.
  explicit MersenneTwister(uint32_t seed);
  /// Seeded with several numbers, as Python's random.seed does. `key` is not empty.
  explicit MersenneTwister(std::span<const uint32_t> key);

  /// 32 random bits.
  uint32_t next();

 private:
  void refill();

  static constexpr size_t kWords = 624;
  std::array<uint32_t, kWords> state_ = {};
  size_t place_ = kWords;
};

}  // namespace hypenet
