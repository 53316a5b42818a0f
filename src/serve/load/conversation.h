// The prompts of a load test: random, but the same for a seed, and growing from turn to turn.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "serve/load/options.h"

namespace hypenet {

/// Plain words, about a token each; also what a server is asked to tokenize for ids to draw from.
std::string plain_words(uint64_t seed, int64_t index, int64_t turn, int64_t count);

/// One client's requests, each of which continues the one before.
class Conversation {
 public:
  /// `ids`: what prompts of ids are drawn from. `index` makes this one differ from all others.
  Conversation(const LoadOptions& options, const std::vector<int32_t>& ids, int64_t index);

  /// The body of this turn's request.
  std::string body(const std::string& model) const;

  /// Goes on behind an answer: its text where prompts are text or messages; where they are ids, as
  /// many random ones, as a stream has none.
  void go_on(const std::string& answer, int64_t answer_tokens);

  int64_t turn() const { return turn_; }
  int64_t index() const { return index_; }

 private:
  void begin();
  void ask();
  void append_ids(Json& prompt, uint64_t seed, int64_t index, int64_t turn, int64_t count) const;
  int64_t draw(LengthRange range, int64_t label) const;

  const LoadOptions& options_;
  const std::vector<int32_t>& ids_;
  int64_t index_, turn_ = 0;
  int64_t prompt_tokens_ = 0, answer_tokens_ = 0;  // of this turn
  Json prompt_;
};

}  // namespace hypenet
