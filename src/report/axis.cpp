// Round ticks for linear axes, 1-2-5 steps and powers of two for logarithmic ones.
#include "report/axis.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace hypenet {
namespace {

constexpr double kMostTicks = 7;
// Differences of larger values overflow; what is less than its inverse counts as zero.
constexpr double kLargest = 1e300;

struct Unit {
  double size;
  const char* suffix;
};
constexpr std::array<Unit, 5> kUnits = {
    {{1e15, "P"}, {1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}}};

/// The unit that keeps a number of this size short; thousands only from ten thousand on.
Unit unit_of(double magnitude) {
  if (magnitude >= 1e4) {
    for (const Unit& unit : kUnits) {
      if (magnitude >= unit.size) return unit;
    }
  }
  return {1, ""};
}

/// The smallest of 1, 2, 5 times a power of ten that is not below `step`.
double round_step(double step) {
  const double power = std::pow(10, std::floor(std::log10(step)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= step * (1 - 1e-9)) return factor * power;
  }
  return 10 * power;
}

/// The place of the leading digit: 2 for hundreds, -1 for tenths.
int decimal_place(double value) { return static_cast<int>(std::floor(std::log10(value) + 1e-9)); }

/// As many digits as tell neighbouring ticks apart.
std::string linear_label(double value, double step, double magnitude) {
  if (magnitude < 1e-3 || magnitude >= 1e18) {
    return fmt::format("{:.{}g}", value, decimal_place(magnitude) - decimal_place(step) + 1);
  }
  const Unit unit = unit_of(magnitude);
  return fmt::format("{:.{}f}{}", value / unit.size, std::max(0, -decimal_place(step / unit.size)),
                     value == 0 ? "" : unit.suffix);
}

std::string binary_label(double value) {
  if (value >= 0x1p20) return fmt::format("{:g}M", value / 0x1p20);
  if (value >= 0x1p10) return fmt::format("{:g}K", value / 0x1p10);
  return fmt::format("{:g}", value);
}

/// The range of the values, with some room when there is but one value.
std::pair<double, double> range_of(const std::vector<double>& values) {
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  const double magnitude = std::max(std::abs(*low), std::abs(*high));
  if (*high - *low > std::max(1e-9 * magnitude, 1 / kLargest)) return {*low, *high};
  const double room = magnitude > 1 / kLargest ? magnitude / 2 : 1;
  return {*low - room, *high + room};
}

/// The axis that ends at the outermost of the given ticks that the values need.
Axis log_axis(const std::vector<double>& candidates, double low, double high) {
  Axis axis;
  axis.is_log = true;
  for (const double tick : candidates) {
    if (tick <= low * (1 + 1e-9)) axis.ticks.clear();
    axis.ticks.push_back(tick);
    if (tick >= high * (1 - 1e-9) && axis.ticks.size() > 1) break;
  }
  axis.low = axis.ticks.front();
  axis.high = axis.ticks.back();
  return axis;
}

/// Powers `base`^n around low .. high, every k-th so that they are few.
std::vector<double> powers(double base, double low, double high) {
  const double first = std::floor(std::log(low) / std::log(base) + 1e-9);
  const double last = std::ceil(std::log(high) / std::log(base) - 1e-9);
  const double every = std::max(1.0, std::ceil((last - first) / 10));
  std::vector<double> ticks;
  for (double n = first; n < last + every + 0.5; n += every) ticks.push_back(std::pow(base, n));
  return ticks;
}

}  // namespace

double Axis::position(double value) const {
  return is_log ? std::log(value / low) / std::log(high / low) : (value - low) / (high - low);
}

bool is_drawable(double value, bool is_log) {
  const double magnitude = std::abs(value);
  if (is_log) return value >= 1 / kLargest && value <= kLargest;
  return magnitude <= kLargest;  // false for nan
}

Axis linear_axis(const std::vector<double>& values) {
  if (values.empty()) return {};
  auto [low, high] = range_of(values);
  if (low > 0 && low < 0.6 * high) low = 0;
  if (high < 0 && high > 0.6 * low) high = 0;
  const double step = round_step((high - low) / (kMostTicks - 1));
  const double first = std::floor(low / step + 1e-9), last = std::ceil(high / step - 1e-9);
  Axis axis;
  for (int i = 0; i <= static_cast<int>(last - first); ++i)
    axis.ticks.push_back((first + i) * step);
  axis.low = axis.ticks.front();
  axis.high = axis.ticks.back();
  const double magnitude = std::max(std::abs(axis.low), std::abs(axis.high));
  for (const double tick : axis.ticks) axis.labels.push_back(linear_label(tick, step, magnitude));
  return axis;
}

Axis decimal_log_axis(const std::vector<double>& values) {
  if (values.empty()) return {1, 10, true, {}, {}};
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  std::vector<double> candidates = powers(10, *low, *high);
  if (*high / *low < 1e3) {  // up to three decades
    std::vector<double> finer;
    for (const double power : candidates) {
      for (const double factor : {1.0, 2.0, 5.0}) finer.push_back(factor * power);
    }
    candidates = finer;
  }
  Axis axis = log_axis(candidates, *low, *high);
  for (const double tick : axis.ticks) axis.labels.push_back(short_number(tick));
  return axis;
}

Axis binary_log_axis(const std::vector<double>& values) {
  if (values.empty()) return {1, 2, true, {}, {}};
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  Axis axis = log_axis(powers(2, *low, *high), *low, *high);
  for (const double tick : axis.ticks) axis.labels.push_back(binary_label(tick));
  return axis;
}

std::string token_label(int64_t tokens) {
  constexpr int64_t kKilo = 1024, kMega = 1024 * 1024;
  if (tokens >= kMega && tokens % kMega == 0) return fmt::format("{}M", tokens / kMega);
  if (tokens >= kKilo && tokens % kKilo == 0) return fmt::format("{}K", tokens / kKilo);
  return std::to_string(tokens);
}

std::string short_number(double value) {
  const double magnitude = std::abs(value);
  if (magnitude >= 1e3 && magnitude < 1e4) return fmt::format("{:.0f}", value);
  const Unit unit = unit_of(magnitude);
  return fmt::format("{:.3g}{}", value / unit.size, unit.suffix);
}

}  // namespace hypenet
