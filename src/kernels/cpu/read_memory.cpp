// Lines are asked for ahead of their use, as the kernels that this is a ceiling for do.
#include "kernels/read_memory.h"

#include "kernels/cpu/vectorize.h"

namespace hypenet::kernels {

HYPENET_VECTORIZED
uint64_t read_memory(const uint64_t* x, int64_t count) {
  constexpr int64_t kLine = 8, kBlock = 8 * kLine, kAhead = 1024;  // words
  uint64_t sum = 0;
  int64_t i = 0;
  for (; i + kBlock <= count; i += kBlock) {
    for (int64_t j = 0; j < kBlock; j += kLine) __builtin_prefetch(x + i + kAhead + j);
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < kBlock; ++j) sum += x[i + j];
  }
  for (; i < count; ++i) sum += x[i];
  return sum;
}

}  // namespace hypenet::kernels
