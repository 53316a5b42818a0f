// Content of an answer that is not told yet, by tokens and by bytes. Places are bytes since the
// content's beginning.
#pragma once

#include <cstddef>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "engine/options.h"
#include "serve/text/answer_delta.h"

namespace hypenet {

class HeldTokens {
 public:
  /// Appends a token with the bytes that it shows, at least one.
  void push(Event event, std::string_view bytes);

  size_t begin() const { return begin_; }
  size_t end() const { return begin_ + bytes_.size(); }
  char operator[](size_t at) const { return bytes_[at - begin_]; }

  /// Whether the text from `at` to `end` begins with these bytes, or may with what comes.
  bool may_begin(size_t at, size_t end, std::string_view text) const;

  /// Tells whole tokens up to `end` that end with a whole character; `cuts`: all bytes up to `end`,
  /// with U+FFFD for a piece of a character.
  void tell(size_t end, bool cuts, std::vector<AnswerDelta>& deltas);

  /// Leaves out what is before `end`.
  void drop(size_t end);

  /// Leaves out what is behind `end`.
  void truncate(size_t end);

 private:
  struct Token {
    Event event;
    size_t end = 0;
  };

  size_t whole_end(size_t end) const;

  std::string bytes_;
  size_t begin_ = 0;  // of bytes_
  std::deque<Token> tokens_;
};

}  // namespace hypenet
