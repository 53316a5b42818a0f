// What the first line tells about the file.
#include "data/json_lines.h"

#include "base/error.h"
#include "base/file_kind.h"

namespace hypenet {

void check_first_line(std::string_view line, const std::string& file) {
  const size_t begin = line.find_first_not_of(" \t\r");
  const std::string_view text = begin == line.npos ? "" : line.substr(begin);
  std::string kind = kind_of_bytes(line);
  // Zeros may be one line that a crash left.
  if (kind == "JSON" || kind.starts_with("zero bytes")) kind.clear();
  if (text.starts_with('[')) kind = "a JSON array (write one object a line)";
  if (text.find_last_not_of(" \t\r{") == text.npos && text.starts_with('{')) {
    kind = "an object over several lines (write one object a line)";
  }
  HYPENET_CHECK(kind.empty(), file, ": expected JSON lines, found ", kind);
}

bool is_blank(std::string_view line) { return line.find_first_not_of(" \t\r") == line.npos; }

}  // namespace hypenet
