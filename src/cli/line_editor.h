// Messages that a person types on a terminal: editing, history and several lines, by libedit.
#pragma once

#include <memory>
#include <string>

#include "cli/line_reader.h"

namespace hypenet {

/// Text pasted into the terminal is one message however many lines it has; Alt-Enter, or a
/// backslash before Enter, begins a further line. The history is of this conversation alone and is
/// written nowhere. Keys are emacs', or what ~/.editrc says.
class LineEditor : public LineSource {
 public:
  /// Reads standard input, a terminal, and draws on standard output; waiting ends when `interrupts`
  /// becomes readable (InterruptWatch). Throws Error when the terminal cannot be prepared.
  explicit LineEditor(int interrupts);
  ~LineEditor() override;

  /// A message, in UTF-8, its lines separated by "\n". The terminal is as it was before when this
  /// returns.
  LineStatus read(std::string& message) override;

 private:
  struct Terminal;
  std::unique_ptr<Terminal> terminal_;
};

}  // namespace hypenet
