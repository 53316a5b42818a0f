// Needle grids as pictures: one colour scale from nothing found (red) to all found (blue), which
// people who cannot tell red from green can read too.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.h"
#include "eval/needle_grid.h"
#include "report/axis.h"
#include "report/escape.h"
#include "report/svg.h"

namespace hypenet {
namespace {

constexpr double kWidth = 760, kGap = 28, kLeft = 46;
constexpr double kMostCellHeight = 26, kMostCellWidth = 64;
constexpr double kLegendHeight = 10;
constexpr size_t kTitleCharacters = 84;

struct Colour {
  double red, green, blue;
};

constexpr std::array<Colour, 5> kScale = {
    {{178, 51, 46}, {233, 133, 92}, {250, 224, 168}, {151, 199, 214}, {37, 99, 156}}};

Colour colour_at(double share) {
  const double place = std::clamp(share, 0.0, 1.0) * (kScale.size() - 1);
  const auto low = std::min(static_cast<size_t>(place), kScale.size() - 2);
  const double more = place - static_cast<double>(low);
  const Colour &a = kScale[low], &b = kScale[low + 1];
  return {std::lerp(a.red, b.red, more), std::lerp(a.green, b.green, more),
          std::lerp(a.blue, b.blue, more)};
}

/// Light text stands on dark colours.
bool is_dark(const Colour& colour) {
  return 0.3 * colour.red + 0.59 * colour.green + 0.11 * colour.blue < 140;
}

std::string hex(const Colour& colour) {
  return fmt::format("#{:02x}{:02x}{:02x}", std::lround(colour.red), std::lround(colour.green),
                     std::lround(colour.blue));
}

std::string percent(double share) { return fmt::format("{:.0f}", 100 * share); }

/// Panels from left to right, rows of them where there are many, and the legend below.
class HeatMapDrawing {
 public:
  HeatMapDrawing(std::span<const NeedleGrid> grids, const std::string& title)
      : grids_(grids), title_(title) {
    const auto contexts = static_cast<double>(grids[0].contexts.size());
    panels_a_row_ = std::min<size_t>(grids.size(), contexts > 12 ? 1 : 2);
    const auto panels = static_cast<double>(panels_a_row_);
    const double room = (kWidth - panels * kLeft - (panels - 1) * kGap) / panels;
    cell_width_ = std::min(room / contexts, kMostCellWidth);
    cell_height_ = std::min(kMostCellHeight, std::max(14.0, cell_width_));
    for (const int64_t context : grids[0].contexts) {
      widest_label_ = std::max(widest_label_, text_width(token_label(context)));
    }
  }

  std::string draw() {
    draw_title();
    for (size_t first = 0; first < grids_.size(); first += panels_a_row_) {
      const size_t last = std::min(first + panels_a_row_, grids_.size());
      for (size_t i = first; i < last; ++i) {
        draw_panel(grids_[i], static_cast<double>(i - first) * (panel_width() + kGap));
      }
      y_ += 30 + plot_height() + 42;
    }
    draw_legend();
    return fmt::format(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1:.0f}\" role=\"img\" "
        "aria-label=\"{2}\" font-family=\"system-ui, -apple-system, Segoe UI, Roboto, DejaVu Sans, "
        "sans-serif\">\n<rect width=\"{0}\" height=\"{1:.0f}\" fill=\"#fff\"/>\n{3}</svg>\n",
        kWidth, y_, escape(title_), body_);
  }

 private:
  double panel_width() const {
    return kLeft + cell_width_ * static_cast<double>(grids_[0].contexts.size());
  }
  double plot_height() const { return cell_height_ * static_cast<double>(grids_[0].depths.size()); }

  void draw_title() {
    y_ = 4;
    if (title_.empty()) return;
    for (const auto& line : wrap(title_, kTitleCharacters)) {
      y_ += 20;
      body_ += draw_text(
          0, y_ - 4, line,
          {.anchor = "start", .colour = kInk, .size = 16, .more = " font-weight=\"600\""});
    }
    y_ += 8;
  }

  void draw_panel(const NeedleGrid& grid, double x) {
    const double left = x + kLeft, top = y_ + 30;
    body_ +=
        draw_text(left, y_ + 20, grid.name,
                  {.anchor = "start", .colour = kInk, .size = 13, .more = " font-weight=\"600\""});
    body_ += draw_text(left + cell_width_ * static_cast<double>(grid.contexts.size()), y_ + 20,
                       fmt::format("mean {}%", percent(grid.mean())), {.anchor = "end"});
    for (size_t depth = 0; depth < grid.depths.size(); ++depth) {
      const double y = top + cell_height_ * static_cast<double>(depth);
      body_ += draw_text(left - 6, y + cell_height_ / 2 + 4,
                         fmt::format("{:.0f}%", grid.depths[depth]), {.anchor = "end", .size = 11});
      for (size_t context = 0; context < grid.contexts.size(); ++context) {
        draw_cell(grid, context, depth, left + cell_width_ * static_cast<double>(context), y);
      }
    }
    draw_contexts(grid, left, top + plot_height());
  }

  void draw_cell(const NeedleGrid& grid, size_t context, size_t depth, double x, double y) {
    const double share = grid.shares[context][depth];
    const Colour colour = colour_at(share);
    body_ +=
        draw_box({x + 0.75, y + 0.75, cell_width_ - 1.5, cell_height_ - 1.5}, hex(colour).c_str(),
                 fmt::format("{}: {} tokens, depth {:.0f}%: {}% of {} found", grid.name,
                             token_label(grid.contexts[context]), grid.depths[depth],
                             percent(share), grid.samples));
    if (cell_width_ < 26) return;
    body_ += draw_text(x + cell_width_ / 2, y + cell_height_ / 2 + 4, percent(share),
                       {.colour = is_dark(colour) ? "#ffffff" : kInk, .size = 11});
  }

  /// Every context has a label, or every second or third where they would touch.
  void draw_contexts(const NeedleGrid& grid, double left, double y) {
    const auto every = static_cast<size_t>(std::ceil((widest_label_ + 4) / cell_width_));
    for (size_t i = 0; i < grid.contexts.size(); i += every) {
      body_ += draw_text(left + cell_width_ * (static_cast<double>(i) + 0.5), y + 16,
                         token_label(grid.contexts[i]), {.size = 11});
    }
    body_ += draw_text(left + cell_width_ * static_cast<double>(grid.contexts.size()) / 2, y + 34,
                       "tokens of context", {.size = 11});
  }

  void draw_legend() {
    constexpr double kLegendWidth = 200;
    y_ += 14;
    body_ += "<defs><linearGradient id=\"found\">";
    for (size_t i = 0; i < kScale.size(); ++i) {
      body_ += fmt::format("<stop offset=\"{:.2f}\" stop-color=\"{}\"/>",
                           static_cast<double>(i) / (kScale.size() - 1), hex(kScale[i]));
    }
    body_ += "</linearGradient></defs>\n";
    body_ += draw_box({kLeft, y_, kLegendWidth, kLegendHeight}, "url(#found)");
    const double baseline = y_ + kLegendHeight + 14;
    for (const double share : {0.0, 0.5, 1.0}) {
      const char* anchor = share == 0 ? "start" : share == 1 ? "end" : "middle";
      body_ += draw_text(kLeft + kLegendWidth * share, baseline, percent(share) + "%",
                         {.anchor = anchor, .size = 11});
    }
    body_ += draw_text(kLeft + kLegendWidth + 14, y_ + 9,
                       fmt::format("found, of {} prompts a cell; depth: share of the context "
                                   "before the fact",
                                   grids_[0].samples),
                       {.anchor = "start", .size = 11});
    y_ = baseline + 8;
  }

  std::span<const NeedleGrid> grids_;
  const std::string title_;
  size_t panels_a_row_ = 1;
  double cell_width_ = 0, cell_height_ = 0, widest_label_ = 0;
  double y_ = 0;
  std::string body_;
};

}  // namespace

std::string draw_heat_maps(std::span<const NeedleGrid> grids, const std::string& title) {
  HYPENET_CHECK(!grids.empty(), "heat map: expected a grid, found none");
  for (const NeedleGrid& grid : grids) {
    HYPENET_CHECK(grid.contexts == grids[0].contexts && grid.depths == grids[0].depths &&
                      grid.samples == grids[0].samples,
                  "heat map: expected grids of the same contexts, depths and samples, found others "
                  "in ",
                  grid.name);
  }
  return HeatMapDrawing(grids, title).draw();
}

std::string format_heat_map(const NeedleGrid& grid, bool has_colour) {
  size_t width = 6;
  for (const int64_t context : grid.contexts) {
    width = std::max(width, token_label(context).size() + 2);
  }
  const auto cell = [&](const std::string& content) {
    return fmt::format("{:>{}} ", content, width - 1);
  };
  std::string text = "depth ";
  for (const int64_t context : grid.contexts) text += cell(token_label(context));
  text += '\n';
  for (size_t depth = 0; depth < grid.depths.size(); ++depth) {
    text += fmt::format("{:>4.0f}% ", grid.depths[depth]);
    for (size_t context = 0; context < grid.contexts.size(); ++context) {
      const double share = grid.shares[context][depth];
      const std::string content = cell(percent(share) + "%");
      const Colour colour = colour_at(share);
      text += has_colour
                  ? fmt::format("\x1b[48;2;{};{};{}m\x1b[{}m{}\x1b[0m", std::lround(colour.red),
                                std::lround(colour.green), std::lround(colour.blue),
                                is_dark(colour) ? "97" : "30", content)
                  : content;
    }
    text += '\n';
  }
  return text;
}

}  // namespace hypenet
