// A file that grows line by line, so that work which was killed goes on from its last whole line.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "base/json.h"

namespace hypenet {

/// One process at a time writes it; what was appended outlives the process.
class LineLog {
 public:
  /// Opens the file or makes it. Throws Error with the system's reason, or when another process has
  /// it open.
  explicit LineLog(std::filesystem::path path);
  ~LineLog();
  LineLog(const LineLog&) = delete;
  LineLog& operator=(const LineLog&) = delete;

  /// The bytes that are there: lines, and perhaps the beginning of one (a killed process).
  std::string read() const;

  /// The whole lines that are there, of which the first has the keys of `header`. None where it is
  /// alone: nothing of what it tells was kept. The file stays as it is. Throws Error when it is no
  /// journal of `owner`.
  std::string whole_lines(const Json& header, std::string_view owner) const;

  /// Leaves the first `bytes` of the file.
  void cut(size_t bytes);

  /// Lines with their line feeds.
  void append(std::string_view lines);

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
};

}  // namespace hypenet
