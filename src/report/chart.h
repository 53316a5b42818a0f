// Charts of lines or bars, drawn as SVG.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace hypenet {

struct Series {
  std::string name;
  std::vector<double> x, y;  // non-finite points are left out
};

enum class ChartKind { kLines, kBars };

struct Chart {
  std::string title = {}, x_label = {}, y_label = {};
  ChartKind kind = ChartKind::kLines;
  bool log_x = false, log_y = false;  // log_x ticks at powers of two, log_y at 1-2-5 steps
  std::vector<double> shown_y = {};   // kLines: the y axis reaches these whatever the series hold
  std::vector<Series> series = {};    // one without points keeps its colour, and has no legend
  std::vector<std::string> bar_labels = {};  // kBars: one a bar
  std::vector<int64_t> highlighted =
      {};  // kBars: bars drawn in the accent colour (selected layers)
  // The legend of a bar chart with highlighted bars.
  std::string highlight_name = "selected", quiet_name = "not selected";
};

/// The line through these points.
Series series_of(std::string name, const std::map<int64_t, double>& points);

/// The chart as an SVG element (also valid as a file of its own).
std::string draw_svg(const Chart& chart);

/// Charts one below the other, as one SVG element.
std::string draw_svg(const std::vector<Chart>& charts);

}  // namespace hypenet
