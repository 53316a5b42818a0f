// The random number of each (seed, draw, token): a hash, so that no state is kept and no order of
// work matters. One text for CPU and GPU.
#pragma once

#include <cstdint>

namespace hypenet::kernels {

/// The finisher of splitmix64: a bijection in which every bit of x moves every bit of the result.
constexpr uint64_t mix_bits(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9U;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBU;
  return x ^ (x >> 31);
}

constexpr uint64_t kGoldenStep = 0x9E3779B97F4A7C15U;  // splitmix64's step: 2^64 / golden ratio

/// What the numbers of one draw, number `draw` of a sequence, have in common.
constexpr uint64_t draw_key(int64_t seed, int32_t draw) {
  const uint64_t sequence = mix_bits(static_cast<uint64_t>(seed) + kGoldenStep);
  return mix_bits(sequence + kGoldenStep * (static_cast<uint64_t>(draw) + 1));
}

/// Uniform in [2^-33, 1 - 2^-24], steps of 2^-32 or what float32 has. The noise of `token` is
/// -log(-log(1 - u)), in float32 -logf(-log1pf(-u)): its large values, which decide, come from
/// small u, where float32 is finest. It lies between -2.9 and 22.9.
constexpr float draw_uniform(uint64_t key, int32_t token) {
  const uint64_t bits = mix_bits(key + kGoldenStep * (static_cast<uint64_t>(token) + 1)) >> 32;
  const float u = (static_cast<float>(static_cast<uint32_t>(bits)) + 0.5F) * 0x1p-32F;
  return u < 1.0F ? u : 1.0F - 0x1p-24F;
}

}  // namespace hypenet::kernels
