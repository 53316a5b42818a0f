// The scale of one axis of a chart: its range, its ticks and their labels.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace hypenet {

struct Axis {
  double low = 0, high = 1;
  bool is_log = false;
  std::vector<double> ticks;  // from low to high, both included
  std::vector<std::string> labels;

  /// Where a value lies between low (0) and high (1).
  double position(double value) const;
};

/// Whether a value can be drawn: finite, and positive on a logarithmic axis.
bool is_drawable(double value, bool is_log);

/// Ticks at round steps of 1, 2 or 5 times a power of ten. Zero is on the axis when the values come
/// near it. Each function takes drawable values; none at all gives an axis from 0 to 1 (1 to 10)
/// without labels.
Axis linear_axis(const std::vector<double>& values);

/// Ticks at 1, 2 and 5 times powers of ten, or at powers of ten over many decades.
Axis decimal_log_axis(const std::vector<double>& values);

/// Ticks at powers of two, labelled 512, 1K, 2K ... 1M.
Axis binary_log_axis(const std::vector<double>& values);

/// 1000, 4K, 1M: binary units where they are exact.
std::string token_label(int64_t tokens);

/// A value in few characters, for the end of a bar: 0.953, 12.5, 48k, 1.3M.
std::string short_number(double value);

}  // namespace hypenet
