// Axes hold their values between few, distinct ticks.
#include "report/axis.h"

#include <gmock/gmock.h>

#include <cmath>
#include <limits>
#include <set>

#include "base/random.h"

namespace hypenet {
namespace {

using testing::ElementsAre;

void expect_sound(const Axis& axis, const std::vector<double>& values) {
  ASSERT_GE(axis.ticks.size(), 2U);
  ASSERT_LE(axis.ticks.size(), 12U);
  ASSERT_EQ(axis.ticks.size(), axis.labels.size());
  EXPECT_EQ(std::set<std::string>(axis.labels.begin(), axis.labels.end()).size(),
            axis.labels.size());
  for (const double value : values) {
    EXPECT_GE(axis.position(value), -1e-6) << value;
    EXPECT_LE(axis.position(value), 1 + 1e-6) << value;
  }
}

TEST(AxisTest, every_range_gets_few_distinct_ticks_around_it) {
  Random random(9);
  for (int i = 0; i < 500; ++i) {
    const double size = std::pow(10, 24 * random.uniform() - 12);
    const double low = size * random.uniform(), high = low + size * random.uniform();
    expect_sound(linear_axis({low, high}), {low, high});
    expect_sound(linear_axis({-high, low}), {-high, low});
    expect_sound(decimal_log_axis({low, high}), {low, high});
    expect_sound(binary_log_axis({low, high * 1e6}), {low, high * 1e6});
  }
}

TEST(AxisTest, one_value_gets_room) {
  for (const double value : {0.0, 3.14, -2.0, 1e9}) expect_sound(linear_axis({value}), {value});
  for (const double value : {1.0, 3.14, 1e-9}) {
    expect_sound(decimal_log_axis({value, value}), {value});
    expect_sound(binary_log_axis({value}), {value});
  }
}

TEST(AxisTest, values_too_small_to_divide_count_as_zero) {
  expect_sound(linear_axis({5e-324}), {5e-324});
  expect_sound(linear_axis({0, 5e-324}), {0, 5e-324});
}

TEST(AxisTest, labels_are_the_expected_ones) {
  EXPECT_THAT(linear_axis({0.02, 0.97}).labels,
              ElementsAre("0.0", "0.2", "0.4", "0.6", "0.8", "1.0"));
  EXPECT_THAT(linear_axis({0, 20000}).labels, ElementsAre("0", "5k", "10k", "15k", "20k"));
  EXPECT_THAT(decimal_log_axis({0.03, 0.4}).labels,
              ElementsAre("0.02", "0.05", "0.1", "0.2", "0.5"));
  EXPECT_THAT(binary_log_axis({256, 2048}).labels, ElementsAre("256", "512", "1K", "2K"));
  EXPECT_EQ(binary_log_axis({4096, 1048576}).labels.back(), "1M");
}

TEST(AxisTest, zero_is_on_the_axis_when_values_come_near) {
  EXPECT_EQ(linear_axis({1, 10}).low, 0);
  EXPECT_GT(linear_axis({95, 100}).low, 90);
}

TEST(AxisTest, what_cannot_be_drawn_is_known) {
  const double infinity = std::numeric_limits<double>::infinity();
  for (const double value : {std::nan(""), infinity, -infinity, 1e305}) {
    EXPECT_FALSE(is_drawable(value, false)) << value;
    EXPECT_FALSE(is_drawable(value, true)) << value;
  }
  EXPECT_TRUE(is_drawable(-1, false));
  EXPECT_TRUE(is_drawable(0, false));
  EXPECT_FALSE(is_drawable(-1, true));
  EXPECT_FALSE(is_drawable(0, true));
}

TEST(AxisTest, tokens_have_units_where_they_are_exact) {
  EXPECT_EQ(token_label(1000), "1000");
  EXPECT_EQ(token_label(1024), "1K");
  EXPECT_EQ(token_label(131072), "128K");
  EXPECT_EQ(token_label(2097152), "2M");
}

TEST(AxisTest, short_numbers_are_short) {
  EXPECT_EQ(short_number(0.9534), "0.953");
  EXPECT_EQ(short_number(1024), "1024");
  EXPECT_EQ(short_number(48000), "48k");
  EXPECT_EQ(short_number(1.3e6), "1.3M");
  EXPECT_EQ(short_number(0), "0");
}

}  // namespace
}  // namespace hypenet
