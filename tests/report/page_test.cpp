// The report page: well-formed, escaped, and calm about strange data.
#include "report/page.h"

#include <gmock/gmock.h>

#include <cmath>
#include <limits>
#include <regex>

#include "base/files.h"
#include "tests/support/temporary_folder.h"

namespace hypenet {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

/// Whether all elements of an SVG text are closed in order.
bool is_well_formed(const std::string& svg) {
  const std::regex tag(R"re(<(/?)(\w+)((?:\s+[\w:-]+="[^"<]*")*)\s*(/?)>)re");
  std::vector<std::string> open;
  size_t tags = 0;
  for (std::sregex_iterator it(svg.begin(), svg.end(), tag), end; it != end; ++it, ++tags) {
    const std::smatch& match = *it;
    if (match[1].length() > 0) {
      if (open.empty() || open.back() != match[2]) return false;
      open.pop_back();
    } else if (match[4].length() == 0) {
      open.push_back(match[2]);
    }
  }
  const auto brackets = static_cast<size_t>(std::count(svg.begin(), svg.end(), '<'));
  return open.empty() && tags == brackets;
}

size_t occurrences(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

Chart line_chart(std::vector<double> x, std::vector<double> y) {
  return {.title = "loss", .x_label = "step", .y_label = "nats", .series = {{"a", x, y}}};
}

Chart bar_chart(const std::vector<double>& values) {
  Chart chart{.title = "importance", .kind = ChartKind::kBars, .series = {{"a", {}, values}}};
  for (size_t i = 0; i < values.size(); ++i) chart.bar_labels.push_back(std::to_string(i));
  return chart;
}

TEST(ReportTest, strange_data_gives_sound_charts) {
  const double nan = std::nan(""), infinity = std::numeric_limits<double>::infinity();
  std::vector<Chart> charts = {Chart{},
                               line_chart({}, {}),
                               line_chart({1}, {2}),
                               line_chart({1, 2, 3}, {nan, infinity, -infinity}),
                               line_chart({1, 2, 3}, {nan, 4, nan}),
                               line_chart({nan, 2}, {1, 4}),
                               line_chart({1, 2, 3}, {1}),
                               line_chart({0, 0}, {0, 0}),
                               line_chart({-1e308, 1e308}, {-1e308, 1e308}),
                               bar_chart({}),
                               bar_chart({nan}),
                               bar_chart({0, 0}),
                               bar_chart({-1, 5, nan, 1e300}),
                               bar_chart(std::vector<double>(300, 1.5))};
  charts.push_back(Chart{.kind = ChartKind::kBars, .bar_labels = {"no series"}});
  for (Chart chart : charts) {
    for (const bool is_log : {false, true}) {
      chart.log_x = chart.log_y = is_log;
      const std::string svg = draw_svg(chart);
      EXPECT_TRUE(is_well_formed(svg)) << svg;
      EXPECT_THAT(svg, Not(HasSubstr("nan"))) << svg;
      EXPECT_THAT(svg, Not(HasSubstr("inf"))) << svg;
    }
  }
}

TEST(ReportTest, a_chart_without_drawable_points_says_so) {
  EXPECT_THAT(draw_svg(line_chart({1}, {std::nan("")})), HasSubstr("no data"));
  EXPECT_THAT(draw_svg(line_chart({1}, {1})), Not(HasSubstr("no data")));
}

TEST(ReportTest, non_finite_points_are_left_out) {
  const std::string svg = draw_svg(line_chart({1, 2, 3}, {1, std::nan(""), 2}));
  EXPECT_EQ(occurrences(svg, "<circle"), 2U);
}

TEST(ReportTest, an_axis_reaches_what_shall_be_shown) {
  Chart chart = line_chart({10, 20}, {0.9, 0.95});
  EXPECT_THAT(draw_svg(chart), Not(HasSubstr(">0.2</text>")));
  chart.shown_y = {0, 1};
  EXPECT_THAT(draw_svg(chart), AllOf(HasSubstr(">0.2</text>"), HasSubstr(">0.8</text>")));
  EXPECT_THAT(draw_svg(chart), Not(HasSubstr(">1.2</text>")));
}

TEST(ReportTest, a_series_without_points_has_no_legend_and_keeps_its_colour) {
  Chart chart = line_chart({}, {});
  chart.series.push_back({"student", {1, 2}, {2, 1}});
  const std::string svg = draw_svg(chart);
  EXPECT_THAT(svg, HasSubstr(">student</text>"));
  EXPECT_THAT(svg, Not(HasSubstr(">" + chart.series[0].name + "</text>")));
  EXPECT_THAT(svg, HasSubstr("stroke=\"#d9480f\" stroke-width=\"2\""));
}

TEST(ReportTest, headings_and_pictures_stand_among_the_parts) {
  const TemporaryFolder folder;
  write_report(folder / "r.html",
               {.title = "T", .parts = {Heading{"A < B"}, Picture{"none", "<svg>x</svg>"}}});
  EXPECT_THAT(read_file(folder / "r.html"),
              AllOf(HasSubstr("<h2>A &lt; B</h2>"), HasSubstr("<figure>\n<svg>x</svg></figure>")));
}

TEST(ReportTest, highlighted_bars_have_the_accent_colour) {
  Chart chart = bar_chart({3, 1, 2});
  chart.highlighted = {0, 2};
  const std::string svg = draw_svg(chart);
  EXPECT_EQ(occurrences(svg, "fill=\"#2563eb\""), 3U);  // two bars and the legend
  EXPECT_EQ(occurrences(svg, "fill=\"#b4bdcb\""), 2U);
  EXPECT_THAT(svg, HasSubstr(">not selected<"));
}

TEST(ReportTest, several_series_have_a_legend_and_colours_of_their_own) {
  Chart chart = line_chart({1, 2}, {1, 2});
  chart.series.push_back({"student", {1, 2}, {2, 1}});
  const std::string svg = draw_svg(chart);
  EXPECT_THAT(svg, HasSubstr(">student</text>"));
  EXPECT_THAT(svg, HasSubstr("stroke=\"#2563eb\" stroke-width=\"2\""));
  EXPECT_THAT(svg, HasSubstr("stroke=\"#d9480f\" stroke-width=\"2\""));
}

TEST(ReportTest, several_charts_stand_below_each_other) {
  const Chart first = line_chart({1, 2}, {1, 2}), second = bar_chart({1, 2, 3});
  const auto height = [](const std::string& svg) {
    std::smatch match;
    const std::regex box(R"re(viewBox="0 0 760 (\d+)")re");
    EXPECT_TRUE(std::regex_search(svg, match, box)) << svg;
    return std::stod(match[1]);
  };
  const std::string both = draw_svg(std::vector<Chart>{first, second});
  EXPECT_TRUE(is_well_formed(both));
  EXPECT_EQ(occurrences(both, "<svg"), 1U);
  EXPECT_THAT(both, AllOf(HasSubstr(">loss</text>"), HasSubstr(">importance</text>")));
  EXPECT_NEAR(height(both), height(draw_svg(first)) + height(draw_svg(second)) + 24, 2);
}

TEST(ReportTest, higher_values_stand_higher) {
  const std::string svg = draw_svg(line_chart({0, 1}, {0, 10}));
  const std::regex points(R"re(points="[\d.]+,([\d.]+) [\d.]+,([\d.]+)")re");
  std::smatch match;
  ASSERT_TRUE(std::regex_search(svg, match, points)) << svg;
  EXPECT_NEAR(std::stod(match[1]) - std::stod(match[2]), 270, 1e-6);
}

TEST(ReportTest, all_text_is_escaped) {
  const std::string text = "<script>alert(\"x\" & 'y')</script>";
  Chart lines{.title = text, .x_label = text, .y_label = text, .series = {{text, {1}, {1}}}};
  lines.series.push_back(lines.series[0]);
  Chart bars{.title = text, .kind = ChartKind::kBars, .series = {{text, {}, {1}}}};
  bars.bar_labels = {text};
  bars.highlighted = {0};
  bars.highlight_name = bars.quiet_name = text;
  const TemporaryFolder folder;
  const Report report{text, text, {text, Table{{text}, {{text}}}, lines, bars}};
  write_report(folder / "report.html", report);
  const std::string page = read_file(folder / "report.html");
  EXPECT_THAT(page, Not(HasSubstr("<script")));
  EXPECT_THAT(page, HasSubstr("&lt;script&gt;alert(&quot;x&quot; &amp; &#39;y&#39;)"));
  EXPECT_TRUE(is_well_formed(draw_svg(lines)));
  EXPECT_TRUE(is_well_formed(draw_svg(bars)));
}

TEST(ReportTest, the_page_is_self_contained) {
  const TemporaryFolder folder;
  write_report(folder / "report.html", {"t", "s", {"p", Table{{"a"}, {{"b"}}}, bar_chart({1})}});
  const std::string page = read_file(folder / "report.html");
  EXPECT_THAT(page, HasSubstr("<!doctype html>"));
  EXPECT_THAT(page, Not(HasSubstr("src=")));
  EXPECT_THAT(page, Not(HasSubstr("href=")));
  EXPECT_THAT(page, Not(HasSubstr("url(")));
}

TEST(ReportTest, terminal_tables_align_their_columns) {
  const Table table{{"", "teacher", "HypeNet"},
                    {{"perplexity ±", "38.4", "44.15"}, {"recall", "1"}}};
  EXPECT_EQ(format_table(table),
            "              teacher  HypeNet\n"
            "------------  -------  -------\n"
            "perplexity ±     38.4    44.15\n"
            "recall              1\n");
}

}  // namespace
}  // namespace hypenet
