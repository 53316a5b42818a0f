// A table for the terminal.
#include "report/table.h"

#include <algorithm>
#include <cstdint>

namespace hypenet {
namespace {

/// Characters of UTF-8 text; a terminal gives each one column (but for wide scripts, which tables
/// do not hold).
size_t width(const std::string& text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char byte) {
    return (static_cast<uint8_t>(byte) & 0xC0) != 0x80;
  }));
}

std::string format_row(const std::vector<std::string>& cells, const std::vector<size_t>& widths) {
  std::string line;
  for (size_t i = 0; i < widths.size(); ++i) {
    const std::string cell = i < cells.size() ? cells[i] : "";
    const std::string padding(widths[i] - width(cell), ' ');
    if (i > 0) line += "  ";
    line += i == 0 ? cell + padding : padding + cell;
  }
  line.erase(line.find_last_not_of(' ') + 1);
  return line + "\n";
}

}  // namespace

std::string format_table(const Table& table) {
  std::vector<size_t> widths;
  const auto widen = [&](const std::vector<std::string>& cells) {
    if (cells.size() > widths.size()) widths.resize(cells.size());
    for (size_t i = 0; i < cells.size(); ++i) widths[i] = std::max(widths[i], width(cells[i]));
  };
  widen(table.header);
  for (const auto& row : table.rows) widen(row);

  std::vector<std::string> rules;
  rules.reserve(widths.size());
  for (const size_t columns : widths) rules.emplace_back(columns, '-');
  std::string text = format_row(table.header, widths) + format_row(rules, widths);
  for (const auto& row : table.rows) text += format_row(row, widths);
  return text;
}

}  // namespace hypenet
