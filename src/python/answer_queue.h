// The answers of one call as they come: filled on the engine's thread, emptied by whoever asked.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "engine/options.h"

namespace hypenet {

/// A token of an answer with the text that became certain by it, or an answer's end.
struct AnswerPiece {
  int64_t index = 0;                   // of the prompt in its call
  std::string text = {};               // may be empty: a piece of a character, or of a stop string
  int32_t id = -1;                     // -1: no token, only text that was held back, or the end
  float logprob = 0;                   // nats, of the raw logits
  std::vector<TokenLogprob> top = {};  // the likeliest tokens in its place
  std::string finish = {};             // "stop", "length" ..; empty: the answer goes on
};

/// Any thread may call anything; no piece is told twice.
class AnswerQueue {
 public:
  /// Of a call with so many prompts.
  explicit AnswerQueue(int64_t answers);

  void push(AnswerPiece piece);

  /// Nothing further comes, and take() throws Error with this text.
  void fail(const std::string& reason);

  /// What came since; waits so many seconds for the first. Empty: nothing came in time, or nothing
  /// further comes. Throws Error after fail(), and in a fork of the process, to which nothing
  /// comes.
  std::vector<AnswerPiece> take(double seconds);

  /// Whether every answer has ended and was told.
  bool is_done() const;

  /// From now on 8 bytes, the number 1, are written to this file (an eventfd) whenever there is
  /// something to take; at once where there is already. -1: no longer.
  void notify(int file);

 private:
  void wake();

  const int process_;
  mutable std::mutex mutex_;
  std::condition_variable has_news_;
  std::deque<AnswerPiece> pieces_;
  std::optional<std::string> failure_;
  int64_t open_;  // answers that have not ended
  int file_ = -1;
};

}  // namespace hypenet
