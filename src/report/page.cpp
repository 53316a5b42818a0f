// The page around the charts and tables.
#include "report/page.h"

#include "base/error.h"
#include "base/files.h"
#include "report/escape.h"

namespace hypenet {
namespace {

constexpr char kStyle[] = R"(
  :root { color-scheme: light; }
  body { margin: 2rem auto 4rem; max-width: 48rem; padding: 0 1rem; background: #fff; color: #1f2430;
         font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
  h1 { font-size: 1.75rem; line-height: 1.2; margin: 0; }
  .subtitle { color: #5b6475; margin: .35rem 0 2rem; }
  h2 { font-size: 1.25rem; line-height: 1.3; margin: 3rem 0 1rem; }
  figure { margin: 2rem 0; }
  figure svg { display: block; width: 100%; height: auto; }
  .table { overflow-x: auto; margin: 1.5rem 0; position: relative; left: 50%; translate: -50%;
           width: max-content; min-width: 100%; max-width: calc(100vw - 3rem); }
  table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums;
          font-size: .875rem; }
  th, td { padding: .3rem .6rem; text-align: right; border-bottom: 1px solid #e3e6ec; }
  td + td { white-space: nowrap; }
  th:first-child, td:first-child { text-align: left; padding-left: 0; min-width: 9rem; }
  thead th { border-bottom: 2px solid #9aa3b2; font-weight: 600; }
)";

std::string html_row(const std::vector<std::string>& cells, std::string_view tag) {
  std::string html = "<tr>";
  for (const auto& cell : cells) html += concat("<", tag, ">", escape(cell), "</", tag, ">");
  return html + "</tr>\n";
}

struct PartWriter {
  std::string operator()(const std::string& paragraph) const {
    return "<p>" + escape(paragraph) + "</p>\n";
  }
  std::string operator()(const Heading& heading) const {
    return "<h2>" + escape(heading.text) + "</h2>\n";
  }
  std::string operator()(const Picture& picture) const {
    return "<figure>\n" + picture.svg + "</figure>\n";
  }
  std::string operator()(const Table& table) const {
    std::string html = "<div class=\"table\"><table>\n<thead>" + html_row(table.header, "th");
    html += "</thead>\n<tbody>\n";
    for (const auto& row : table.rows) html += html_row(row, "td");
    return html + "</tbody>\n</table></div>\n";
  }
  std::string operator()(const Chart& chart) const {
    return "<figure>\n" + draw_svg(chart) + "</figure>\n";
  }
};

}  // namespace

std::string format_page(const Report& report) {
  std::string html = "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n";
  html += "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n";
  html += "<title>" + escape(report.title) + "</title>\n";
  html += concat("<style>", kStyle, "</style>\n</head>\n<body>\n");
  html += "<h1>" + escape(report.title) + "</h1>\n";
  html += concat(kReportMark, escape(report.subtitle), "</p>\n");
  for (const auto& part : report.parts) html += std::visit(PartWriter{}, part);
  return html + "</body>\n</html>\n";
}

void write_report(const std::filesystem::path& path, const Report& report) {
  write_file(path, format_page(report));
}

}  // namespace hypenet
