// Products of pairs of bfloat16 numbers against a definition in float64; whole tests of what they
// are used for are in tests/ops/attention_step_test.cpp.
#include "kernels/cpu/multiply_pairs.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "kernels/cpu/bfloat16.h"
#include "kernels/cpu/lanes.h"

#ifdef HYPENET_BFLOAT16_DOTS
namespace hypenet::kernels {
namespace {

/// Two numbers in a word, the first in its lower half.
uint32_t pair_of(float first, float second) {
  return uint32_t{rounded(first)} | uint32_t{rounded(second)} << 16;
}
double first_of(uint32_t pair) { return wide(static_cast<BFloat16>(pair)); }
double second_of(uint32_t pair) { return wide(static_cast<BFloat16>(pair >> 16)); }

std::vector<uint32_t> drawn_pairs(int64_t count) {
  std::mt19937 random(static_cast<unsigned>(count));
  std::normal_distribution<float> normal;
  std::vector<uint32_t> pairs;
  for (int64_t i = 0; i < count; ++i) pairs.push_back(pair_of(normal(random), normal(random)));
  return pairs;
}

TEST(MultiplyPairs, equals_its_definition_and_adds) {
  if (!has_bfloat16_dots()) GTEST_SKIP() << "needs a CPU with vdpbf16ps";
  for (const int64_t rows : {4, 8, 12, 20}) {
    for (const int64_t columns : {16, 32, 48, 64}) {
      for (const int64_t inner : {1, 7, 32}) {
        const int64_t a_row = inner + 3;
        const auto a = drawn_pairs(rows * a_row), b = drawn_pairs(inner * columns);
        std::vector<float> c(static_cast<size_t>(rows * columns), 1.0F), added = c;
        multiply_pairs(rows, columns, inner, a.data(), a_row, b.data(), c.data(), false);
        multiply_pairs(rows, columns, inner, a.data(), a_row, b.data(), added.data(), true);
        for (int64_t i = 0; i < rows * columns; ++i) {
          double sum = 0, size = 1;
          for (int64_t k = 0; k < inner; ++k) {
            const uint32_t left = a[static_cast<size_t>(i / columns * a_row + k)];
            const uint32_t right = b[static_cast<size_t>(k * columns + i % columns)];
            const double first = first_of(left) * first_of(right);
            const double second = second_of(left) * second_of(right);
            sum += first + second, size += std::abs(first) + std::abs(second);
          }
          ASSERT_NEAR(c[static_cast<size_t>(i)], sum, 1e-6 * size) << rows << " " << i;
          ASSERT_NEAR(added[static_cast<size_t>(i)], sum + 1, 1e-6 * size) << rows << " " << i;
        }
      }
    }
  }
}

}  // namespace
}  // namespace hypenet::kernels
#endif
