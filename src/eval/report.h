// report.html: one self-contained page of tables and charts, the charts inline SVG.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <variant>
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

struct Table {
  std::vector<std::string> header;
  std::vector<std::vector<std::string>> rows;
};

struct Heading {
  std::string text;
};

/// A drawing that is no chart: an SVG element, written as it stands.
struct Picture {
  std::string title, svg;
};

/// A string is a paragraph.
using ReportPart = std::variant<std::string, Heading, Table, Chart, Picture>;

struct Report {
  std::string title = {}, subtitle = {};
  std::vector<ReportPart> parts = {};
};

/// The chart as an SVG element (also valid as a file of its own).
std::string draw_svg(const Chart& chart);

/// Charts one below the other, as one SVG element.
std::string draw_svg(const std::vector<Chart>& charts);

/// What every page has, and so tells that it is one of ours.
inline constexpr std::string_view kReportMark = "<p class=\"subtitle\">";

/// Writes the page, temporary-then-rename. Text is escaped.
void write_report(const std::filesystem::path& path, const Report& report);

/// The table with aligned columns for a terminal.
std::string format_table(const Table& table);

}  // namespace hypenet
