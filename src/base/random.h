// A counter-based random stream: its numbers are a function of the seed and the labels alone, so
// that step 1000 of a resumed run draws what it would have drawn without the interruption.
#pragma once

#include <cstdint>
#include <initializer_list>

namespace hypenet {

/// SplitMix64 (Steele, Lea, Flood 2014) from a state that mixes seed and labels, e.g. Random(seed,
/// {step, row}).
class Random {
 public:
  explicit Random(uint64_t seed, std::initializer_list<int64_t> labels = {}) : state_(mix(seed)) {
    for (const int64_t label : labels)
      state_ = mix(state_ + 0x9E3779B97F4A7C15ULL + static_cast<uint64_t>(label));
  }

  uint64_t next() { return mix(state_ += 0x9E3779B97F4A7C15ULL); }

  /// Uniform in 0 .. n-1, n > 0; the bias of the multiplication is below n / 2^64.
  int64_t below(int64_t n) {
    return static_cast<int64_t>(
        (static_cast<unsigned __int128>(next()) * static_cast<uint64_t>(n)) >> 64);
  }

  /// Uniform in [0, 1).
  double uniform() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }

 private:
  static uint64_t mix(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
  }
  uint64_t state_;
};

}  // namespace hypenet
