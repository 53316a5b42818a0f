// report.html: one self-contained page of tables and charts, the charts inline SVG.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "report/chart.h"
#include "report/table.h"

namespace hypenet {

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

/// What every page has, and so tells that it is one of ours.
inline constexpr std::string_view kReportMark = "<p class=\"subtitle\">";

/// The page as HTML. Text is escaped.
std::string format_page(const Report& report);

/// Writes the page, temporary-then-rename.
void write_report(const std::filesystem::path& path, const Report& report);

}  // namespace hypenet
