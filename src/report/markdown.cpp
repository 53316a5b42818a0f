// The parts of a report in their order; images are named by their titles.
#include "report/markdown.h"

#include <cctype>
#include <set>
#include <string_view>

#include "base/error.h"

namespace hypenet {
namespace {

/// "ruler-niah-single-1" of "RULER: niah_single_1".
std::string file_stem(const std::string& title) {
  std::string stem;
  for (const char c : title) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte)) {
      stem += static_cast<char>(std::tolower(byte));
    } else if (!stem.empty() && stem.back() != '-') {
      stem += '-';
    }
  }
  if (stem.ends_with('-')) stem.pop_back();
  return stem.empty() ? "image" : stem;
}

/// Names for a report's images, in their order.
class ImageNames {
 public:
  std::string next(const std::string& title) {
    const std::string stem = file_stem(title);
    std::string name = stem;
    for (int number = 2; !names_.insert(name).second; ++number) name = concat(stem, "-", number);
    return name + ".svg";
  }

 private:
  std::set<std::string> names_;
};

/// Text that shows as it is, on one line: within a paragraph, heading, cell or link.
std::string markdown_text(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    if (std::string_view("\\`*_<[]|&~").find(c) != std::string_view::npos) escaped += '\\';
    escaped += c == '\n' ? ' ' : c;
  }
  return escaped;
}

std::string markdown_row(const std::vector<std::string>& cells, size_t columns) {
  std::string row = "|";
  for (size_t i = 0; i < columns; ++i) {
    row += concat(" ", i < cells.size() ? markdown_text(cells[i]) : "", " |");
  }
  return row + "\n";
}

struct MarkdownWriter {
  std::string operator()(const std::string& paragraph) const {
    return markdown_text(paragraph) + "\n\n";
  }
  std::string operator()(const Heading& heading) const {
    return concat("## ", markdown_text(heading.text), "\n\n");
  }
  std::string operator()(const Table& table) const {
    const size_t columns = table.header.size();
    std::string text = markdown_row(table.header, columns) + "|---|";
    for (size_t i = 1; i < columns; ++i) text += "---:|";
    text += "\n";
    for (const auto& row : table.rows) text += markdown_row(row, columns);
    return text + "\n";
  }
  std::string operator()(const Chart& chart) { return link(chart.title); }
  std::string operator()(const Picture& picture) { return link(picture.title); }

  std::string link(const std::string& title) {
    const std::string file = names.next(title);
    if (image_folder.empty()) return "";
    return concat("![", markdown_text(title), "](<", image_folder, "/", file, ">)\n\n");
  }

  std::string image_folder;
  ImageNames names = {};
};

}  // namespace

std::vector<ReportImage> report_images(const Report& report) {
  std::vector<ReportImage> images;
  ImageNames names;
  for (const ReportPart& part : report.parts) {
    if (const auto* chart = std::get_if<Chart>(&part)) {
      images.push_back({names.next(chart->title), draw_svg(*chart)});
    } else if (const auto* picture = std::get_if<Picture>(&part)) {
      images.push_back({names.next(picture->title), picture->svg});
    }
  }
  return images;
}

std::string format_markdown(const Report& report, const std::string& image_folder) {
  std::string text = concat("# ", markdown_text(report.title), "\n\n");
  if (!report.subtitle.empty()) text += markdown_text(report.subtitle) + "\n\n";
  MarkdownWriter writer{image_folder};
  for (const ReportPart& part : report.parts) text += std::visit(writer, part);
  text.pop_back();  // one line feed at the end
  return text;
}

std::string format_markdown(const Table& table) { return MarkdownWriter{}(table); }

}  // namespace hypenet
