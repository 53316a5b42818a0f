// A value and its token as one integer.
#pragma once

namespace hypenet::kernels::cuda {

/// Of two, the larger value is more, of equals the first token. None of a number is 0.
using Candidate = unsigned long long;

__device__ __forceinline__ Candidate candidate(float value, int token) {
  const unsigned bits = __float_as_uint(value + 0.0F);  // one zero
  const unsigned ordered = (bits >> 31) != 0 ? ~bits : bits | 0x80000000U;
  return (Candidate{ordered} << 32) | ~static_cast<unsigned>(token);
}

__device__ __forceinline__ float value_of(Candidate best) {
  const auto ordered = static_cast<unsigned>(best >> 32);
  return __uint_as_float((ordered >> 31) != 0 ? ordered & 0x7FFFFFFFU : ~ordered);
}

__device__ __forceinline__ int token_of(Candidate best) {
  return static_cast<int>(~static_cast<unsigned>(best));
}

}  // namespace hypenet::kernels::cuda
