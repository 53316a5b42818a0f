// The Mersenne Twister of Matsumoto and Nishimura (1998) with CPython's rules for drawing from it.
#include "base/python_random.h"

#include <bit>
#include <cmath>
#include <numeric>
#include <unordered_set>

#include "base/error.h"

namespace hypenet {
namespace {

constexpr size_t kWords = 624, kMiddle = 397;

/// The state that one 32-bit number gives.
std::array<uint32_t, kWords> initial_state(uint32_t number) {
  std::array<uint32_t, kWords> state{};
  state[0] = number;
  for (size_t i = 1; i < kWords; ++i) {
    state[i] = 1812433253U * (state[i - 1] ^ (state[i - 1] >> 30)) + static_cast<uint32_t>(i);
  }
  return state;
}

uint32_t twist(uint32_t upper, uint32_t lower) {
  const uint32_t joined = (upper & 0x80000000U) | (lower & 0x7fffffffU);
  return (joined >> 1) ^ ((joined & 1U) != 0 ? 0x9908b0dfU : 0U);
}

}  // namespace

PythonRandom::PythonRandom(uint64_t seed) : state_(initial_state(19650218U)) {
  // The seed's 32-bit words are mixed in, lowest first: one word, or two when the seed needs them.
  const std::array<uint32_t, 2> key = {static_cast<uint32_t>(seed),
                                       static_cast<uint32_t>(seed >> 32)};
  const size_t length = key[1] == 0 ? 1 : 2;
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
  for (size_t step = 0; step < kWords; ++step) {
    state_[i] = scrambled(1664525U) + key[j] + static_cast<uint32_t>(j);
    j = (j + 1) % length;
    advance();
  }
  for (size_t step = 0; step < kWords - 1; ++step) {
    state_[i] = scrambled(1566083941U) - static_cast<uint32_t>(i);
    advance();
  }
  state_[0] = 0x80000000U;
}

void PythonRandom::refill() {
  for (size_t i = 0; i < kWords; ++i) {
    state_[i] = state_[(i + kMiddle) % kWords] ^ twist(state_[i], state_[(i + 1) % kWords]);
  }
  place_ = 0;
}

uint32_t PythonRandom::next() {
  if (place_ == kWords) refill();
  uint32_t y = state_[place_++];
  y ^= y >> 11;
  y ^= (y << 7) & 0x9d2c5680U;
  y ^= (y << 15) & 0xefc60000U;
  return y ^ (y >> 18);
}

uint64_t PythonRandom::bits(int bits) {
  HYPENET_CHECK(1 <= bits && bits <= 64, "random bits: expected 1 to 64, found ", bits);
  if (bits <= 32) return next() >> (32 - bits);
  const uint64_t low = next();
  return low | static_cast<uint64_t>(next() >> (64 - bits)) << 32;
}

int64_t PythonRandom::below(int64_t n) {
  HYPENET_CHECK(n > 0, "random below: expected a positive bound, found ", n);
  const int width = std::bit_width(static_cast<uint64_t>(n));
  int64_t drawn = n;
  while (drawn >= n) drawn = static_cast<int64_t>(bits(width));
  return drawn;
}

double PythonRandom::uniform() {
  const uint32_t high = next() >> 5, low = next() >> 6;
  return (high * 67108864.0 + low) * 0x1.0p-53;
}

std::vector<int64_t> PythonRandom::sample(int64_t n, int64_t k) {
  HYPENET_CHECK(0 <= k && k <= n, "random sample: expected 0 to ", n, " of ", n, ", found ", k);
  std::vector<int64_t> places;
  places.reserve(static_cast<size_t>(k));
  // CPython weighs a list of all places against a set of those drawn, and the numbers depend on it.
  double list_size = 21;
  if (k > 5) {
    list_size += std::pow(4.0, std::ceil(std::log(static_cast<double>(3 * k)) / std::log(4.0)));
  }
  if (static_cast<double>(n) <= list_size) {
    std::vector<int64_t> pool(static_cast<size_t>(n));
    std::iota(pool.begin(), pool.end(), int64_t{0});
    for (int64_t i = 0; i < k; ++i) {
      const auto j = static_cast<size_t>(below(n - i));
      places.push_back(pool[j]);
      pool[j] = pool[static_cast<size_t>(n - i - 1)];
    }
    return places;
  }
  std::unordered_set<int64_t> seen;
  while (std::ssize(places) < k) {
    const int64_t place = below(n);
    if (seen.insert(place).second) places.push_back(place);
  }
  return places;
}

}  // namespace hypenet
