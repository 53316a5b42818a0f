// exp, the sigmoid and softplus in a form that compilers turn into vector code.
#pragma once

#include <bit>
#include <cstdint>

#include "kernels/cpu/vectorize.h"

namespace hypenet::kernels {

/// exp(x) to 2 units in the last place for x in [-87, 88]; x is clamped to that range, so the
/// result is finite and > 0.
HYPENET_INLINE float exponential(float x) {
  x = x < -87.0F ? -87.0F : x;
  x = x > 88.0F ? 88.0F : x;
  // Adding 1.5 * 2^23 leaves the nearest integer in the low bits.
  const float shifted = x * 1.44269504F + 12582912.0F;
  const float n = shifted - 12582912.0F;
  // x - n log 2 in two parts, so that it is exact to float32.
  const float r = (x - n * 0.693359375F) + n * 2.12194440e-4F;
  float p = 1.9875691500e-4F;
  p = p * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  p = p * r * r + r + 1.0F;
  const int32_t exponent = (std::bit_cast<int32_t>(shifted) - 0x4B400000 + 127) << 23;
  return p * std::bit_cast<float>(exponent);
}

HYPENET_INLINE float sigmoid(float x) { return 1.0F / (1.0F + exponential(-x)); }

/// log(1 + exp(x)) to a few units in the last place.
HYPENET_INLINE float softplus(float x) {
  const float t = exponential(x < 0.0F ? x : -x);
  // log(1 + t) = 2 artanh(s), s at most 1/3.
  const float s = t / (2.0F + t), square = s * s;
  float p = 1.0F / 15.0F;
  p = p * square + 1.0F / 13.0F;
  p = p * square + 1.0F / 11.0F;
  p = p * square + 1.0F / 9.0F;
  p = p * square + 1.0F / 7.0F;
  p = p * square + 1.0F / 5.0F;
  p = p * square + 1.0F / 3.0F;
  p = p * square + 1.0F;
  return (x > 0.0F ? x : 0.0F) + 2.0F * s * p;
}

}  // namespace hypenet::kernels
