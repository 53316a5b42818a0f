// The recurrence over 624 words, and the two ways to fill them.
#include "eval/python/mersenne_twister.h"

namespace hypenet {
namespace {

constexpr size_t kMiddle = 397;

uint32_t twist(uint32_t upper, uint32_t lower) {
  const uint32_t joined = (upper & 0x80000000U) | (lower & 0x7fffffffU);
  return (joined >> 1) ^ ((joined & 1U) != 0 ? 0x9908b0dfU : 0U);
}

}  // namespace

MersenneTwister::MersenneTwister(uint32_t seed) {
  state_[0] = seed;
  for (size_t i = 1; i < kWords; ++i) {
    const uint32_t before = state_[i - 1];
    state_[i] = 1812433253U * (before ^ (before >> 30)) + static_cast<uint32_t>(i);
  }
}

MersenneTwister::MersenneTwister(std::span<const uint32_t> key) : MersenneTwister(19650218U) {
  size_t i = 1, j = 0;
  const auto advance = [&] {
    if (++i == kWords) {
      state_[0] = state_[kWords - 1];
      i = 1;
    }
  };
  const auto scrambled = [&](uint32_t factor) {
    return state_[i] ^ ((state_[i - 1] ^ (state_[i - 1] >> 30)) * factor);
  };
  const size_t steps = key.size() > kWords ? key.size() : kWords;
  for (size_t step = 0; step < steps; ++step) {
    state_[i] = scrambled(1664525U) + key[j] + static_cast<uint32_t>(j);
    j = (j + 1) % key.size();
    advance();
  }
  for (size_t step = 0; step < kWords - 1; ++step) {
    state_[i] = scrambled(1566083941U) - static_cast<uint32_t>(i);
    advance();
  }
  state_[0] = 0x80000000U;
}

void MersenneTwister::refill() {
  for (size_t i = 0; i < kWords; ++i) {
    state_[i] = state_[(i + kMiddle) % kWords] ^ twist(state_[i], state_[(i + 1) % kWords]);
  }
  place_ = 0;
}

uint32_t MersenneTwister::next() {
  if (place_ == kWords) refill();
  uint32_t y = state_[place_++];
  y ^= y >> 11;
  y ^= (y << 7) & 0x9d2c5680U;
  y ^= (y << 15) & 0xefc60000U;
  return y ^ (y >> 18);
}

}  // namespace hypenet
