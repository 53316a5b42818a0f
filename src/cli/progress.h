// Progress of long work: one redrawn line on a terminal, now and then a plain line elsewhere.
#pragma once

#include <chrono>
#include <iosfwd>
#include <optional>
#include <string_view>

namespace hypenet {

class Progress {
 public:
  /// To standard error.
  Progress();

  Progress(std::ostream& out, bool is_terminal);
  ~Progress();  // ends a line that is still being redrawn
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// Shows the text unless the last one was shown less than 0.2 s (terminal) or 5 s (elsewhere)
  /// ago.
  void show(std::string_view text);

  /// Shows the text in any case and ends the line.
  void finish(std::string_view text);

 private:
  void draw(std::string_view text);

  std::ostream& out_;
  bool is_terminal_, is_line_open_ = false;
  std::optional<std::chrono::steady_clock::time_point> last_;
};

}  // namespace hypenet
