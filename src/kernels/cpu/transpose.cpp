// Blocks of 16 by 16: whole lines are written, and those read stay in the first-level cache.
#include "kernels/transpose.h"

#include <algorithm>

#include "kernels/cpu/vectorize.h"

namespace hypenet::kernels {
namespace {

// A block's lines stay in the first-level cache while they are read across.
constexpr int64_t kBlock = 16;

}  // namespace

HYPENET_VECTORIZED
void transpose(const float* from, int64_t rows, int64_t columns, float* to, int64_t begin,
               int64_t end) {
  for (int64_t i = 0; i < rows; i += kBlock) {
    const int64_t tall = std::min(kBlock, rows - i);
    for (int64_t j = begin; j < end; j += kBlock) {
      const int64_t wide = std::min(kBlock, end - j);
      for (int64_t b = 0; b < wide; ++b) {
        const float* const source = from + i * columns + j + b;
        float* const target = to + (j + b) * rows + i;
        for (int64_t a = 0; a < tall; ++a) target[a] = source[a * columns];
      }
    }
  }
}

}  // namespace hypenet::kernels
