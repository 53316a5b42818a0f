// Numbers printed by CPython 3.11: random.Random(seed), one method at a time from a fresh seed.
#include "eval/python/python_random.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace hypenet {
namespace {
using testing::ElementsAre;

std::vector<int64_t> four_between(uint64_t seed) {
  PythonRandom random(seed);
  std::vector<int64_t> numbers(4);
  for (int64_t& number : numbers) number = random.between(1000000, 9999999);
  return numbers;
}

std::vector<int64_t> shuffled(uint64_t seed) {
  PythonRandom random(seed);
  std::vector<int64_t> values = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
  random.shuffle(values);
  return values;
}

TEST(PythonRandom, bits_equal_getrandbits) {
  PythonRandom random(42);
  EXPECT_EQ(random.bits(32), 2746317213U);
  EXPECT_EQ(random.bits(32), 478163327U);
  EXPECT_EQ(random.bits(32), 107420369U);
  EXPECT_EQ(random.bits(1), 1U);
  EXPECT_EQ(random.bits(33), 1181241943U);
  EXPECT_EQ(random.bits(64), 2574020394472462046U);
  // getrandbits(128) = 252036172554514852379917073716435574953: the low half, then the high one.
  EXPECT_EQ(random.bits(64), 1890702223848595625U);
  EXPECT_EQ(random.bits(64), 13662908291426823533U);
  EXPECT_EQ(PythonRandom(1234).bits(32), 4150886329U);
  EXPECT_EQ(PythonRandom(0).bits(32), 3626764237U);
}

TEST(PythonRandom, a_seed_beyond_32_bits_counts_whole) {
  EXPECT_EQ(PythonRandom((uint64_t{1} << 40) + 7).bits(32), 2635837658U);
}

TEST(PythonRandom, the_state_is_refilled_after_624_numbers) {
  PythonRandom random(42), other(0);
  for (int i = 0; i < 2000; ++i) {
    random.bits(32);
    other.bits(32);
  }
  EXPECT_EQ(random.bits(32), 426724858U);
  EXPECT_EQ(other.bits(32), 4065999976U);
}

TEST(PythonRandom, between_equals_randint) {
  EXPECT_THAT(four_between(42), ElementsAre(2867825, 1419610, 5614226, 5108603));
  EXPECT_THAT(four_between(1234), ElementsAre(8394266, 2960426, 1125686, 2520747));
  EXPECT_THAT(four_between(0), ElementsAre(7463343, 8056020, 1679215, 5343902));
}

TEST(PythonRandom, sample_from_a_list_and_from_a_set_equal_python) {
  PythonRandom random(42);
  EXPECT_THAT(random.sample(10, 4), ElementsAre(1, 0, 4, 9));
  EXPECT_THAT(random.sample(100, 30),
              ElementsAre(28, 17, 94, 13, 86, 97, 69, 11, 75, 54, 4, 3, 92, 27, 29, 64, 77, 88, 71,
                          25, 93, 53, 99, 57, 91, 35, 0, 20, 90, 43));
  EXPECT_THAT(random.sample(1000000, 5), ElementsAre(291369, 163032, 225772, 800581, 352944));
  EXPECT_THAT(random.sample(5, 5), ElementsAre(0, 4, 1, 3, 2));
  PythonRandom other(1234);
  EXPECT_THAT(other.sample(10, 4), ElementsAre(7, 1, 0, 9));
}

TEST(PythonRandom, shuffle_equals_python) {
  EXPECT_THAT(shuffled(42), ElementsAre(7, 3, 2, 8, 5, 6, 9, 4, 0, 1));
  EXPECT_THAT(shuffled(1234), ElementsAre(2, 8, 3, 5, 6, 4, 9, 0, 1, 7));
  EXPECT_THAT(shuffled(0), ElementsAre(7, 8, 1, 5, 3, 4, 2, 0, 9, 6));
}

TEST(PythonRandom, uniform_and_choice_equal_python) {
  const std::vector<char> letters = {'a', 'b', 'c', 'd', 'e', 'f', 'g'};
  PythonRandom random(42);
  EXPECT_EQ(random.uniform(), 0.6394267984578837);
  EXPECT_EQ(random.uniform(), 0.025010755222666936);
  EXPECT_EQ(random.uniform(), 0.27502931836911926);
  EXPECT_EQ(random.choice(letters), 'b');
  PythonRandom other(1234);
  EXPECT_EQ(other.uniform(), 0.9664535356921388);
  EXPECT_EQ(other.uniform(), 0.4407325991753527);
  EXPECT_EQ(other.uniform(), 0.007491470058587191);
  EXPECT_EQ(other.choice(letters), 'g');
}

TEST(PythonRandom, impossible_draws_are_errors) {
  PythonRandom random(0);
  EXPECT_ERROR(random.below(0), "random below: expected a positive bound, found 0");
  EXPECT_ERROR(random.sample(3, 4), "random sample: expected 0 to 3 of 3, found 4");
}

}  // namespace
}  // namespace hypenet
