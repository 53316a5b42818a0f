// Rows of text under a header.
#pragma once

#include <string>
#include <vector>

namespace hypenet {

struct Table {
  std::vector<std::string> header;
  std::vector<std::vector<std::string>> rows;
};

/// The table with aligned columns for a terminal.
std::string format_table(const Table& table);

}  // namespace hypenet
