// Lines of progress, throttled.
#include "cli/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <iostream>
#include <string>

namespace hypenet {
namespace {

using std::chrono::steady_clock;
constexpr std::chrono::milliseconds kTerminalPause{200}, kPlainPause{5000};

/// A redrawn line must not wrap: what passes the terminal's edge is cut (80 columns when it does
/// not say).
size_t terminal_columns() {
  winsize size{};
  const bool is_known = ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1;
  return is_known ? size.ws_col - 1U : 79U;
}

}  // namespace

Progress::Progress() : Progress(std::cerr, ::isatty(STDERR_FILENO) == 1) {}

Progress::Progress(std::ostream& out, bool is_terminal) : out_(out), is_terminal_(is_terminal) {}

Progress::~Progress() {
  if (is_line_open_) out_ << std::endl;
}

void Progress::show(std::string_view text) {
  const auto now = steady_clock::now();
  if (last_ && now - *last_ < (is_terminal_ ? kTerminalPause : kPlainPause)) return;
  last_ = now;
  draw(text);
}

void Progress::finish(std::string_view text) {
  draw(text);
  if (is_line_open_) out_ << std::endl;
  is_line_open_ = false;
}

void Progress::draw(std::string_view text) {
  if (!is_terminal_) {
    out_ << text << std::endl;
    return;
  }
  out_ << "\r\x1b[K" << text.substr(0, terminal_columns()) << std::flush;
  is_line_open_ = true;
}

}  // namespace hypenet
