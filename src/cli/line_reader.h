// Lines of standard input that Ctrl-C can cut short.
#pragma once

#include <string>

namespace hypenet {

enum class LineStatus { kLine, kEnd, kInterrupted };

class LineReader {
 public:
  /// Reads from `input`; waiting ends when `interrupts` becomes readable (InterruptWatch).
  LineReader(int input, int interrupts) : input_(input), interrupts_(interrupts) {}

  /// The next line, without its end; the last one needs none. Throws Error when the input cannot be
  /// read.
  LineStatus read(std::string& line);

 private:
  bool take_line(std::string& line);

  int input_, interrupts_;
  bool has_ended_ = false;
  std::string buffer_;
};

}  // namespace hypenet
