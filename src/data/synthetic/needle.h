// The recall task: facts hidden in prose, questions at the end. Rows for training and prompts for
// scoring come from this one builder (docs/halo.md, "The recall task").
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/random.h"
#include "text/tokenizer.h"

namespace hypenet {

enum class NeedleKeys { kTraining, kHeldOut };

/// Tokens start .. start + length - 1 of a row: the answer to a question, without its full stop.
struct AnswerSpan {
  int64_t start = 0, length = 0;
};

/// One row of a recall task.
struct NeedleRow {
  std::vector<int32_t> ids;            // exactly the length asked for
  std::vector<int64_t> answer_starts;  // index in ids of the first digit of each question's answer
  int64_t answer_length = 4;           // tokens of an answer: its four digits
};

/// Builds needle rows from prose tokens. Needle: " The magic number for KEY is 4821."; question, at
/// the very end of the row: " Question: the magic number for KEY is 4821.". KEY is an English noun;
/// held-out keys never occur in training rows. Throws Error when the tokenizer does not give each
/// digit a token of its own.
class NeedleTask {
 public:
  explicit NeedleTask(const Tokenizer& tokenizer);

  /// A row of `length` tokens. `prose` returns n consecutive tokens of text; needles go between
  /// them at random places. 1 <= questions <= needles <= 8; the keys of a row are distinct. The
  /// same Random gives the same row. With questions = 1 and NeedleKeys::kHeldOut the row ends with
  /// the last digit of the answer (a scoring row). Throws Error when length cannot hold the needles
  /// and questions.
  NeedleRow row(int64_t length, int64_t needles, int64_t questions, NeedleKeys keys, Random& random,
                const std::function<std::vector<int32_t>(int64_t n)>& prose) const;

 private:
  std::vector<int32_t> draw_answer(Random& random) const;
  std::vector<int32_t> needle(const std::vector<int32_t>& key,
                              const std::vector<int32_t>& digits) const;
  std::vector<int32_t> question(const std::vector<int32_t>& key) const;

  std::vector<std::vector<int32_t>> training_keys_, held_out_keys_;  // token ids of " KEY"
  std::vector<int32_t> needle_prefix_, question_prefix_, middle_, end_, digits_;
};

}  // namespace hypenet
