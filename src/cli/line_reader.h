// Messages of a conversation, which Ctrl-C can cut short: lines of a pipe, or what a person types
// (line_editor.h).
#pragma once

#include <cstddef>
#include <initializer_list>
#include <string>
#include <utility>

namespace hypenet {

enum class LineStatus { kLine, kEnd, kInterrupted };

class LineSource {
 public:
  LineSource() = default;
  virtual ~LineSource() = default;
  LineSource(const LineSource&) = delete;
  LineSource& operator=(const LineSource&) = delete;

  /// The next line, without its end; the last one needs none. Throws Error when the input cannot be
  /// read.
  virtual LineStatus read(std::string& line) = 0;
};

class LineReader : public LineSource {
 public:
  /// Reads from `input`; waiting ends when `interrupts` becomes readable (InterruptWatch). `prompt`
  /// is written to standard output before each line.
  LineReader(int input, int interrupts, std::string prompt = {})
      : input_(input), interrupts_(interrupts), prompt_(std::move(prompt)) {}

  LineStatus read(std::string& line) override;

 private:
  bool take_line(std::string& line);

  int input_, interrupts_;
  bool has_ended_ = false;
  std::string prompt_, buffer_;
};

/// Waits until one of the descriptors is readable, or at its end, and returns the place of the
/// first that is; -1 is never. Throws Error when they cannot be waited for.
size_t wait_for_input(std::initializer_list<int> descriptors);

/// The bytes that `input` has ready, empty at its end. Throws Error when it cannot be read.
std::string read_ready(int input);

}  // namespace hypenet
