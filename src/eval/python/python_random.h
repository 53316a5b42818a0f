// Python's random.Random, number for number: what published samples were drawn with.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "eval/python/mersenne_twister.h"

namespace hypenet {

/// MT19937 seeded as CPython's random.seed(int) does, and the methods of CPython's random that
/// RULER's scripts and lm-evaluation-harness draw with.
class PythonRandom {
 public:
  explicit PythonRandom(uint64_t seed);

  /// `bits` random bits, 1 to 64.
  uint64_t bits(int bits);
  /// Uniform in 0 .. n-1 (randbelow), n > 0.
  int64_t below(int64_t n);
  /// Uniform in a .. b, both included.
  int64_t between(int64_t a, int64_t b) { return a + below(b - a + 1); }
  /// Uniform in [0, 1).
  double uniform();
  /// The places that sample(range(n), k) returns.
  std::vector<int64_t> sample(int64_t n, int64_t k);

  template <class T>
  void shuffle(std::vector<T>& values) {
    for (auto i = static_cast<int64_t>(values.size()) - 1; i > 0; --i) {
      std::swap(values[static_cast<size_t>(i)], values[static_cast<size_t>(below(i + 1))]);
    }
  }
  template <class T>
  const T& choice(const std::vector<T>& values) {
    return values[static_cast<size_t>(below(static_cast<int64_t>(values.size())))];
  }

 private:
  MersenneTwister twister_;
};

}  // namespace hypenet
