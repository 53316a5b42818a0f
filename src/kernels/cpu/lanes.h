// Vectors as wide as the machine's registers, for kernels that count registers: they exist for each
// width in a function of its own, where HYPENET_VECTORIZED would clone one width.
#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/cpu/vectorize.h"

#if defined(__x86_64__) && !defined(HYPENET_PLAIN_KERNELS)
#define HYPENET_16_LANES __attribute__((target("arch=x86-64-v4")))
#define HYPENET_8_LANES __attribute__((target("arch=x86-64-v3")))
#define HYPENET_BFLOAT16_DOTS __attribute__((target("arch=x86-64-v4,avx512bf16")))
#else
#define HYPENET_16_LANES
#define HYPENET_8_LANES
#endif

namespace hypenet::kernels {

/// L floats: a register of the machine.
template <int L>
struct Lanes {
  typedef float Vector __attribute__((vector_size(4 * L)));
  typedef uint32_t Words __attribute__((vector_size(4 * L)));
};
template <int L>
using Vector = typename Lanes<L>::Vector;
template <int L>
using Words = typename Lanes<L>::Words;
using Quad = Vector<4>;

/// From and to any address; the vector's own type would promise an aligned one.
template <class V>
HYPENET_INLINE void load(const void* from, V& to) {
  std::memcpy(&to, from, sizeof to);
}
template <class V>
HYPENET_INLINE void store(const V& from, void* to) {
  std::memcpy(to, &from, sizeof from);
}

/// Floats of a register: 16, 8 or 4.
inline int lanes() {
#if defined(__x86_64__) && !defined(HYPENET_PLAIN_KERNELS)
  // By feature: Clang 14, which lints this, knows no names of levels.
  static const bool kIsWide = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                              __builtin_cpu_supports("bmi2");
  static const bool kIsWidest =
      kIsWide && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (kIsWidest) return 16;
  return kIsWide ? 8 : 4;
#else
  return 4;
#endif
}

/// Whether the machine has vdpbf16ps, which adds two products of bfloat16 numbers to each of 16
/// sums: twice the rate of float32.
inline bool has_bfloat16_dots() {
#ifdef HYPENET_BFLOAT16_DOTS
  static const bool kHasThem = lanes() == 16 && __builtin_cpu_supports("avx512bf16");
  return kHasThem;
#else
  return false;
#endif
}

}  // namespace hypenet::kernels
