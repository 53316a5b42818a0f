// Random streams: their numbers are part of what a seeded run means, so they must never change.
#include "base/random.h"

#include <gtest/gtest.h>

#include <array>
#include <set>

namespace hypenet {
namespace {

TEST(Random, numbers_never_change) {
  // Computed from the definition of SplitMix64 in Python.
  Random plain(0);
  EXPECT_EQ(plain.next(), 0xE220A8397B1DCDAFULL);
  EXPECT_EQ(plain.next(), 0x6E789E6AA1B965F4ULL);
  Random labelled(7, {3, -1});
  EXPECT_EQ(labelled.next(), 0x89AF45D7D7B70707ULL);
  EXPECT_EQ(labelled.next(), 0x6BF426A7D3F0ADBAULL);
}

TEST(Random, streams_of_different_labels_differ) {
  std::set<uint64_t> first;
  for (int64_t step = 0; step < 100; ++step) {
    for (int64_t row = 0; row < 10; ++row) first.insert(Random(1, {step, row}).next());
  }
  EXPECT_EQ(first.size(), 1000u);
  EXPECT_NE(Random(1, {2, 3}).next(), Random(1, {3, 2}).next());
}

TEST(Random, below_is_even_and_in_range) {
  Random random(5);
  std::array<int, 7> counts{};
  for (int i = 0; i < 70000; ++i) {
    const int64_t value = random.below(7);
    ASSERT_GE(value, 0);
    ASSERT_LT(value, 7);
    ++counts[static_cast<size_t>(value)];
  }
  // Six standard deviations of a binomial count are 555.
  for (const int count : counts) EXPECT_NEAR(count, 10000, 555);
}

TEST(Random, below_one_is_zero) { EXPECT_EQ(Random(9).below(1), 0); }

TEST(Random, uniform_is_even_and_below_one) {
  Random random(6);
  double sum = 0;
  for (int i = 0; i < 100000; ++i) {
    const double value = random.uniform();
    ASSERT_GE(value, 0);
    ASSERT_LT(value, 1);
    sum += value;
  }
  EXPECT_NEAR(sum / 100000, 0.5, 0.006);
}

}  // namespace
}  // namespace hypenet
