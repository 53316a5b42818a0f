// Charts: a title, a legend, axes with a grid, and lines or bars in colours that also print well.
#include "report/chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "report/axis.h"
#include "report/escape.h"
#include "report/svg.h"

namespace hypenet {
namespace {

constexpr double kWidth = 760, kPlotHeight = 270;
constexpr size_t kTitleCharacters = 84;
constexpr size_t kMostMarkers = 24;  // longer lines carry no points
constexpr std::array<const char*, 6> kColours = {"#2563eb", "#d9480f", "#0f8a5f",
                                                 "#9333ea", "#be185d", "#0e7490"};
constexpr const char* kQuiet = "#b4bdcb";

const char* colour_of(size_t series) { return kColours[series % kColours.size()]; }

struct LegendEntry {
  std::string name;
  const char* colour;
};

/// Draws one chart from top to bottom; `y_` is how far it has come.
class ChartDrawing {
 public:
  explicit ChartDrawing(const Chart& chart) : chart_(chart) {}

  /// Elements that stand between 0 and height().
  std::string draw() {
    draw_title();
    draw_legend();
    set_axes();
    if (is_empty_) {
      body_ += draw_text(kWidth / 2, y_ + kPlotHeight / 2, "no data", {.size = 14});
    } else {
      draw_grid();
      chart_.kind == ChartKind::kLines ? draw_lines() : draw_bars();
    }
    draw_x_axis();
    return body_;
  }

  double height() const { return y_; }

 private:
  void draw_title() {
    y_ = 4;
    if (chart_.title.empty()) return;
    for (const auto& line : wrap(chart_.title, kTitleCharacters)) {
      y_ += 20;
      body_ += draw_text(
          0, y_ - 4, line,
          {.anchor = "start", .colour = kInk, .size = 16, .more = " font-weight=\"600\""});
    }
    y_ += 4;
  }

  std::vector<LegendEntry> legend() const {
    std::vector<LegendEntry> entries;
    const auto& series = chart_.series;
    if (chart_.kind == ChartKind::kBars && series.size() == 1 && !chart_.highlighted.empty()) {
      entries = {{chart_.highlight_name, colour_of(0)}, {chart_.quiet_name, kQuiet}};
    } else if (series.size() > 1) {
      for (size_t i = 0; i < series.size(); ++i) {
        if (points(series[i]) > 0) entries.push_back({series[i].name, colour_of(i)});
      }
    }
    std::erase_if(entries, [](const LegendEntry& entry) { return entry.name.empty(); });
    return entries;
  }

  void draw_legend() {
    double x = 0;
    const double swatch = chart_.kind == ChartKind::kLines ? 22 : 12;
    const double thickness = chart_.kind == ChartKind::kLines ? 3 : 12;
    for (const LegendEntry& entry : legend()) {
      const double width = swatch + 6 + text_width(entry.name);
      if (x == 0 || x + width > kWidth) {
        x = 0;
        y_ += 22;
      }
      body_ += draw_box({x, y_ - 10 - thickness / 2, swatch, thickness}, entry.colour);
      body_ += draw_text(x + swatch + 6, y_ - 6, entry.name, {.anchor = "start", .colour = kInk});
      x += width + 20;
    }
  }

  bool is_point_drawable(const Series& series, size_t i) const {
    return is_drawable(series.y[i], chart_.log_y) &&
           (chart_.kind == ChartKind::kBars || is_drawable(series.x[i], chart_.log_x));
  }

  /// How many points a series has: pairs for lines, labelled values for bars.
  size_t points(const Series& series) const {
    const size_t others =
        chart_.kind == ChartKind::kLines ? series.x.size() : chart_.bar_labels.size();
    return std::min(series.y.size(), others);
  }

  void set_axes() {
    std::vector<double> xs, ys;
    for (const Series& series : chart_.series) {
      for (size_t i = 0; i < points(series); ++i) {
        if (!is_point_drawable(series, i)) continue;
        if (chart_.kind == ChartKind::kLines) xs.push_back(series.x[i]);
        ys.push_back(series.y[i]);
      }
    }
    is_empty_ = ys.empty();
    for (const double y : chart_.shown_y) {
      if (!is_empty_ && is_drawable(y, chart_.log_y)) ys.push_back(y);
    }
    if (chart_.kind == ChartKind::kBars && !chart_.log_y && !is_empty_) ys.push_back(0);
    x_axis_ = chart_.log_x ? binary_log_axis(xs) : linear_axis(xs);
    y_axis_ = chart_.log_y ? decimal_log_axis(ys) : linear_axis(ys);
    place_plot();
  }

  /// Room on the left for the labels of the y axis and of a slanted first bar, above for the axis'
  /// name.
  void place_plot() {
    left_ = std::max(24.0, widest(y_axis_.labels) + 12);
    if (chart_.kind == ChartKind::kBars && are_labels_slanted()) {
      left_ = std::max(left_, widest(chart_.bar_labels) * 0.8 - slot() / 2);
    }
    y_ += 14;
    if (!chart_.y_label.empty() && !is_empty_) {
      y_ += 6;
      body_ += draw_text(0, y_, chart_.y_label, {.anchor = "start"});
      y_ += 12;
    }
    if (chart_.kind == ChartKind::kBars && are_values_shown()) y_ += 12;
    top_ = y_;
  }

  static double widest(const std::vector<std::string>& labels) {
    double width = 0;
    for (const auto& label : labels) width = std::max(width, text_width(label));
    return width;
  }

  double x_at(double value) const { return left_ + x_axis_.position(value) * (right_ - left_); }
  double y_at(double value) const { return top_ + (1 - y_axis_.position(value)) * kPlotHeight; }

  void draw_grid() {
    for (size_t i = 0; i < y_axis_.ticks.size(); ++i) {
      const double y = y_at(y_axis_.ticks[i]);
      body_ += draw_line(left_, y, right_, y, kGrid);
      body_ += draw_text(left_ - 8, y + 4, y_axis_.labels[i], {.anchor = "end"});
    }
    if (chart_.kind == ChartKind::kBars) return;
    for (const double tick : x_axis_.ticks) {
      body_ += draw_line(x_at(tick), top_, x_at(tick), top_ + kPlotHeight, kGrid);
    }
  }

  void draw_lines() {
    for (size_t number = 0; number < chart_.series.size(); ++number) {
      const Series& series = chart_.series[number];
      std::string path, markers;
      size_t drawn = 0;
      for (size_t i = 0; i < points(series); ++i) {
        if (!is_point_drawable(series, i)) continue;
        const double x = x_at(series.x[i]), y = y_at(series.y[i]);
        path += fmt::format("{}{:.1f},{:.1f}", drawn++ == 0 ? "" : " ", x, y);
        markers +=
            draw_dot(x, y, colour_of(number),
                     fmt::format("{}: {:.6g}, {:.6g}", series.name, series.x[i], series.y[i]));
      }
      // A seventh line and those after it repeat the colours with dashes.
      body_ += fmt::format(
          "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\" "
          "stroke-linejoin=\"round\" stroke-linecap=\"round\"{}/>\n",
          path, colour_of(number), number >= kColours.size() ? " stroke-dasharray=\"5 5\"" : "");
      if (drawn <= kMostMarkers) body_ += markers;
    }
  }

  double slot() const { return (right_ - left_) / static_cast<double>(chart_.bar_labels.size()); }

  const char* bar_colour(size_t series, size_t bar) const {
    if (chart_.series.size() > 1 || chart_.highlighted.empty()) return colour_of(series);
    const auto& chosen = chart_.highlighted;
    const bool is_chosen =
        std::find(chosen.begin(), chosen.end(), static_cast<int64_t>(bar)) != chosen.end();
    return is_chosen ? colour_of(0) : kQuiet;
  }

  double bar_width() const {
    return std::min(64.0, slot() * 0.74 / static_cast<double>(chart_.series.size()));
  }

  /// Numbers stand over the bars when there is room for all of them.
  bool are_values_shown() const {
    double width = 0;
    for (const Series& series : chart_.series) {
      for (const double y : series.y) width = std::max(width, text_width(short_number(y)));
    }
    return width <= bar_width() + 6;
  }

  void draw_bars() {
    const auto count = static_cast<double>(chart_.series.size());
    for (size_t number = 0; number < chart_.series.size(); ++number) {
      for (size_t i = 0; i < points(chart_.series[number]); ++i) {
        if (!is_point_drawable(chart_.series[number], i)) continue;
        const double middle = left_ + slot() * (static_cast<double>(i) + 0.5);
        draw_bar(number, i, middle + (static_cast<double>(number) - count / 2) * bar_width());
      }
    }
    body_ += draw_line(left_, base(), right_, base(), kGrey);
  }

  double base() const { return y_at(chart_.log_y ? y_axis_.low : 0); }

  void draw_bar(size_t number, size_t i, double x) {
    const double value = chart_.series[number].y[i], y = y_at(value), width = bar_width();
    body_ +=
        draw_box({x + 0.5, std::min(y, base()), width - 1, std::abs(base() - y)},
                 bar_colour(number, i), fmt::format("{}: {:.6g}", chart_.bar_labels[i], value));
    if (!are_values_shown()) return;
    body_ += draw_text(x + width / 2, value < 0 && !chart_.log_y ? y + 14 : y - 5,
                       short_number(value), {.colour = kInk});
  }

  bool are_labels_slanted() const {
    const double width = widest(chart_.bar_labels);
    return width + 6 > slot() && width > text_width("1000");
  }

  /// The labels under the bars: upright, every k-th where numbers are many, or slanted where words
  /// are long.
  void draw_bar_labels() {
    const bool is_slanted = are_labels_slanted();
    const double width = widest(chart_.bar_labels);
    const double room = is_slanted ? 16 : width + 4;
    const auto every = static_cast<size_t>(std::max(1.0, std::ceil(room / slot())));
    for (size_t i = 0; i < chart_.bar_labels.size(); i += every) {
      const double x = left_ + slot() * (static_cast<double>(i) + 0.5);
      TextStyle style;
      if (is_slanted) {
        style.anchor = "end";
        style.more = fmt::format(" transform=\"rotate(-35 {:.1f} {:.1f})\"", x, y_ + 16);
      }
      body_ += draw_text(x, y_ + 16, chart_.bar_labels[i], style);
    }
    y_ += is_slanted ? 14 + width * 0.6 : 22;
  }

  void draw_x_axis() {
    y_ = top_ + kPlotHeight;
    if (is_empty_) return;
    if (chart_.kind == ChartKind::kBars) {
      draw_bar_labels();
    } else {
      body_ += draw_line(left_, y_, right_, y_, kGrey);
      for (size_t i = 0; i < x_axis_.ticks.size(); ++i) {
        body_ += draw_text(x_at(x_axis_.ticks[i]), y_ + 18, x_axis_.labels[i], {});
      }
      y_ += 24;
    }
    if (!chart_.x_label.empty()) {
      body_ += draw_text((left_ + right_) / 2, y_ + 16, chart_.x_label, {});
      y_ += 20;
    }
    y_ += 6;
  }

  const Chart& chart_;
  std::string body_;
  Axis x_axis_, y_axis_;
  bool is_empty_ = false;
  double left_ = 0, right_ = kWidth - 22, top_ = 0, y_ = 0;
};

}  // namespace

Series series_of(std::string name, const std::map<int64_t, double>& points) {
  Series series{std::move(name), {}, {}};
  for (const auto& [x, y] : points) {
    series.x.push_back(static_cast<double>(x)), series.y.push_back(y);
  }
  return series;
}

std::string draw_svg(const Chart& chart) { return draw_svg(std::vector<Chart>{chart}); }

std::string draw_svg(const std::vector<Chart>& charts) {
  constexpr double kGap = 24;
  std::string body;
  double height = 0;
  for (const Chart& chart : charts) {
    ChartDrawing drawing(chart);
    const std::string elements = drawing.draw();
    if (height > 0) height += kGap;
    body += charts.size() == 1
                ? elements
                : fmt::format("<g transform=\"translate(0 {:.0f})\">\n{}</g>\n", height, elements);
    height += drawing.height();
  }
  return fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1:.0f}\" role=\"img\" "
      "aria-label=\"{2}\" font-family=\"system-ui, -apple-system, Segoe UI, Roboto, DejaVu Sans, "
      "sans-serif\">\n<rect width=\"{0}\" height=\"{1:.0f}\" fill=\"#fff\"/>\n{3}</svg>\n",
      kWidth, height, escape(charts.empty() ? "" : charts.front().title), body);
}

}  // namespace hypenet
