// How the CPU kernels are compiled: each function marked HYPENET_VECTORIZED exists for AVX-512,
// AVX2 and the baseline, and the loader picks. Its helpers must be inlined into it.
#pragma once

#if defined(__x86_64__) && !defined(HYPENET_PLAIN_KERNELS)
#define HYPENET_VECTORIZED \
  __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define HYPENET_VECTORIZED
#endif
#define HYPENET_INLINE inline __attribute__((always_inline))
