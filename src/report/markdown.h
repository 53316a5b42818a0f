// A report as Markdown and image files, for a README or a wiki.
#pragma once

#include <string>
#include <vector>

#include "report/page.h"

namespace hypenet {

/// A chart or picture as a file: a name made of its title, unique in its report.
struct ReportImage {
  std::string file = {};  // "kl-along-the-context.svg"
  std::string svg = {};
};

/// All charts and pictures, in their order.
std::vector<ReportImage> report_images(const Report& report);

/// Headings, paragraphs and tables. Images become links into `image_folder` ("images"; as seen from
/// the Markdown file), or are left out where that is empty.
std::string format_markdown(const Report& report, const std::string& image_folder);

/// The table alone, with an empty line behind it.
std::string format_markdown(const Table& table);

}  // namespace hypenet
