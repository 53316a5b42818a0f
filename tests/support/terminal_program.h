// The built program on a terminal of its own, as a person has it.
#pragma once

#include <poll.h>
#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/error.h"

namespace hypenet::testing_support {

class TerminalProgram {
 public:
  explicit TerminalProgram(const std::vector<std::string>& arguments, const char* kind = "xterm") {
    const std::string program = HYPENET_BINARY;
    std::vector<char*> argv = {const_cast<char*>(program.c_str())};
    for (const auto& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    winsize size{.ws_row = 24, .ws_col = 80, .ws_xpixel = 0, .ws_ypixel = 0};
    process_ = ::forkpty(&terminal_, nullptr, nullptr, &size);
    HYPENET_CHECK(process_ >= 0, "forkpty: cannot start ", program);
    if (process_ > 0) return;
    ::setenv("TERM", kind, 1);
    ::setenv("OMP_NUM_THREADS", "1", 1);
    ::execv(program.c_str(), argv.data());
    ::_exit(127);
  }

  ~TerminalProgram() {
    ::close(terminal_);
    if (process_ < 0) return;
    ::kill(process_, SIGKILL);
    ::waitpid(process_, nullptr, 0);
  }

  TerminalProgram(const TerminalProgram&) = delete;
  TerminalProgram& operator=(const TerminalProgram&) = delete;

  void type(const std::string& keys) {
    HYPENET_CHECK(::write(terminal_, keys.data(), keys.size()) == static_cast<ssize_t>(keys.size()),
                  "terminal: cannot type");
  }

  /// Whether the text comes within half a minute, after what was waited for before.
  bool shows(const std::string& text) {
    for (size_t found = 0;; read_more()) {
      found = shown_.find(text, seen_);
      if (found != std::string::npos) {
        seen_ = found + text.size();
        return true;
      }
      pollfd watched{terminal_, POLLIN, 0};
      if (has_ended_ || ::poll(&watched, 1, 30000) <= 0) return false;
    }
  }

  /// All that was on the terminal so far.
  const std::string& shown() const { return shown_; }

  /// Waits for its end; the exit code, or 128 + signal. One that is silent for half a minute is
  /// killed.
  int wait() {
    for (pollfd watched{terminal_, POLLIN, 0}; !has_ended_; read_more()) {
      if (::poll(&watched, 1, 30000) == 0) ::kill(process_, SIGKILL);
    }
    int status = 0;
    ::waitpid(process_, &status, 0);
    process_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

 private:
  void read_more() {
    std::array<char, 4096> bytes;
    const auto count = ::read(terminal_, bytes.data(), bytes.size());
    has_ended_ = count <= 0;  // EIO when the program has closed its side
    if (count > 0) shown_.append(bytes.data(), static_cast<size_t>(count));
  }

  int terminal_ = -1;
  pid_t process_ = -1;
  bool has_ended_ = false;
  std::string shown_;
  size_t seen_ = 0;
};

}  // namespace hypenet::testing_support
