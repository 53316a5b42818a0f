// The few SVG elements that charts are made of.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace hypenet {

inline constexpr const char* kInk = "#1f2430";
inline constexpr const char* kGrey = "#5b6475";
inline constexpr const char* kGrid = "#e6e9ef";

/// The width of text at 12 px: an estimate on the generous side, since fonts differ.
double text_width(std::string_view text);

struct TextStyle {
  const char* anchor = "middle";
  const char* colour = kGrey;
  double size = 12;
  std::string more = {};  // further attributes, with a space before each
};

/// Text whose baseline is at y; it is escaped.
std::string draw_text(double x, double y, std::string_view text, const TextStyle& style = {});

std::string draw_line(double x1, double y1, double x2, double y2, const char* colour);

struct Box {
  double x, y, width, height;
};

/// A filled rectangle; `tooltip` (escaped) may be empty.
std::string draw_box(const Box& box, const char* colour, std::string_view tooltip = {});

std::string draw_dot(double x, double y, const char* colour, std::string_view tooltip);

/// Words in lines of about `most` characters.
std::vector<std::string> wrap(const std::string& text, size_t most);

}  // namespace hypenet
