// Recall rows in many wordings: facts hidden in prose, questions about them after it and within it.
// For training alone: a skill learnt from them is measured with sentences that are not among them
// (docs/halo.md, "The recall task").
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/random.h"
#include "data/synthetic/needle.h"
#include "text/tokenizer.h"

namespace hypenet {

struct RecallRow {
  std::vector<int32_t> ids;         // exactly the length asked for
  std::vector<AnswerSpan> answers;  // in their order
};

/// Builds recall rows from prose tokens. A row has 1 to 8 facts, mostly about things of one kind
/// (access codes of buildings), so that keys tell them apart; in half of those rows all facts have
/// the same words but for key and value. Keys are nouns or pairs of nouns, none held out, and in a
/// quarter of the rows of the same words pairs with one noun in common; values are numbers of 4 to
/// 8 digits and, for some kinds, words. One to four of the facts, or all in a list, are asked for
/// at the end; in a third of the rows one or two others within the text. A third begin with an
/// announcement; a fifth repeat a short span of prose. A row of n times 4,096 tokens has up to n
/// times as many facts and questions: with those of one short row its answers would hardly count.
class RecallRows {
 public:
  /// The tokenizer is kept by reference. Throws Error when it writes too few of the nouns in a few
  /// tokens.
  explicit RecallRows(const Tokenizer& tokenizer);

  /// A row that is shorter may not hold one fact and one question.
  int64_t shortest_length() const { return shortest_length_; }

  /// A row of `length` tokens. `prose` returns n consecutive tokens of text. The same Random gives
  /// the same row. Where `length` is short, facts and questions are fewer, and nouns of many tokens
  /// are drawn anew. Throws Error when `length` is below the shortest.
  RecallRow row(int64_t length, Random& random,
                const std::function<std::vector<int32_t>(int64_t n)>& prose) const;

 private:
  struct Plan;
  struct Draft;

  Plan draw_plan(int64_t length, Random& random) const;
  Draft draft(const Plan& plan, Random& random) const;
  std::vector<int32_t> haystack(int64_t n, Random& random,
                                const std::function<std::vector<int32_t>(int64_t)>& prose) const;
  int64_t settle(int64_t place, const std::vector<int32_t>& prose) const;
  RecallRow hide(const Draft& draft, const std::vector<int32_t>& prose, Random& random) const;

  const Tokenizer& tokenizer_;
  std::vector<std::string> nouns_;
  std::vector<bool> ends_sentence_, begins_line_, begins_apart_;  // by id; apart: with white space
  std::vector<int32_t> new_line_;
  int64_t shortest_length_ = 0;
};

}  // namespace hypenet
