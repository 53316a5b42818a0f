// Numbers printed by numpy 2.4: numpy.random.seed(n), then randint.
#include "eval/python/numpy_random.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace hypenet {
namespace {
using testing::ElementsAre;

std::vector<int64_t> six_below(uint32_t seed, int64_t low, int64_t high) {
  NumpyRandom random(seed);
  std::vector<int64_t> numbers(6);
  for (int64_t& number : numbers) number = random.below(low, high);
  return numbers;
}

TEST(NumpyRandom, below_equals_randint) {
  EXPECT_THAT(six_below(42U, 10000, 99999), ElementsAre(25795, 10860, 86820, 64886, 16265, 92386));
  EXPECT_THAT(six_below(42U, 0, 2), ElementsAre(0, 1, 0, 0, 0, 1));
  EXPECT_THAT(six_below(42U, 5, 6), ElementsAre(5, 5, 5, 5, 5, 5));
  EXPECT_THAT(six_below(0U, 10000, 99999), ElementsAre(78268, 53567, 52613, 55891, 31243, 51993));
  EXPECT_THAT(six_below(0U, 0, 2), ElementsAre(0, 1, 1, 0, 1, 1));
  EXPECT_THAT(six_below(0U, 5, 6), ElementsAre(5, 5, 5, 5, 5, 5));
  EXPECT_THAT(six_below(4294967295U, 10000, 99999),
              ElementsAre(37043, 26674, 54103, 24260, 75088, 30694));
  EXPECT_THAT(six_below(4294967295U, 0, 2), ElementsAre(1, 0, 0, 1, 0, 0));
  EXPECT_THAT(six_below(4294967295U, 5, 6), ElementsAre(5, 5, 5, 5, 5, 5));
}

}  // namespace
}  // namespace hypenet
