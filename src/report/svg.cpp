// SVG elements as text.
#include "report/svg.h"

#include <fmt/format.h>

#include <algorithm>

#include "report/escape.h"

namespace hypenet {
namespace {

constexpr double kCharacter = 7.6;

/// Characters, not bytes, of UTF-8 text.
size_t characters(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char byte) {
    return (static_cast<uint8_t>(byte) & 0xC0) != 0x80;
  }));
}

std::string title_element(std::string_view tooltip) {
  return tooltip.empty() ? "" : "<title>" + escape(tooltip) + "</title>";
}

}  // namespace

double text_width(std::string_view text) {
  return kCharacter * static_cast<double>(characters(text));
}

std::string draw_text(double x, double y, std::string_view text, const TextStyle& style) {
  return fmt::format(
      "<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\" fill=\"{}\" "
      "font-size=\"{}\"{}>{}</text>\n",
      x, y, style.anchor, style.colour, style.size, style.more, escape(text));
}

std::string draw_line(double x1, double y1, double x2, double y2, const char* colour) {
  return fmt::format(
      "<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"{}\"/>\n", x1, y1, x2,
      y2, colour);
}

std::string draw_box(const Box& box, const char* colour, std::string_view tooltip) {
  return fmt::format(
      "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" fill=\"{}\">{}</rect>\n",
      box.x, box.y, box.width, box.height, colour, title_element(tooltip));
}

std::string draw_dot(double x, double y, const char* colour, std::string_view tooltip) {
  return fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3.5\" fill=\"{}\">{}</circle>\n", x,
                     y, colour, title_element(tooltip));
}

std::vector<std::string> wrap(const std::string& text, size_t most) {
  std::vector<std::string> lines(1);
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(' ', begin), text.size());
    const std::string word = text.substr(begin, end - begin);
    if (!lines.back().empty() && characters(lines.back()) + 1 + characters(word) > most) {
      lines.emplace_back();
    }
    lines.back() += (lines.back().empty() ? "" : " ") + word;
    begin = end + 1;
  }
  return lines;
}

}  // namespace hypenet
