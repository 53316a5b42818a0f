// CPython's rules for drawing numbers from the Mersenne Twister.
#include "eval/python/python_random.h"

#include <array>
#include <bit>
#include <cmath>
#include <numeric>
#include <span>
#include <unordered_set>

#include "base/error.h"

namespace hypenet {
namespace {

/// The seed's 32-bit words, lowest first; none is zero but a lone one.
MersenneTwister seeded(uint64_t seed) {
  const std::array<uint32_t, 2> words = {static_cast<uint32_t>(seed),
                                         static_cast<uint32_t>(seed >> 32)};
  return MersenneTwister(std::span(words).first(words[1] == 0 ? 1 : 2));
}

}  // namespace

PythonRandom::PythonRandom(uint64_t seed) : twister_(seeded(seed)) {}

uint64_t PythonRandom::bits(int bits) {
  HYPENET_CHECK(1 <= bits && bits <= 64, "random bits: expected 1 to 64, found ", bits);
  if (bits <= 32) return twister_.next() >> (32 - bits);
  const uint64_t low = twister_.next();
  return low | static_cast<uint64_t>(twister_.next() >> (64 - bits)) << 32;
}

int64_t PythonRandom::below(int64_t n) {
  HYPENET_CHECK(n > 0, "random below: expected a positive bound, found ", n);
  const int width = std::bit_width(static_cast<uint64_t>(n));
  int64_t drawn = n;
  while (drawn >= n) drawn = static_cast<int64_t>(bits(width));
  return drawn;
}

double PythonRandom::uniform() {
  const uint32_t high = twister_.next() >> 5, low = twister_.next() >> 6;
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
