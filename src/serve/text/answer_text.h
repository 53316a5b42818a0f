// From an answer's tokens to what is shown, while they come: whole UTF-8, stop strings, thoughts
// apart, tool calls apart. Streamed or not, an answer is the sum of its deltas.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/options.h"
#include "serve/text/answer_delta.h"
#include "serve/text/tool_calls.h"
#include "text/tokenizer.h"

namespace hypenet {

struct AnswerSetting {
  bool opens_in_reasoning = false;  // the prompt ends inside <think>
  bool has_reasoning = false;       // the answer may begin with <think>
  ToolFormat tools = ToolFormat::kNone;
  bool valid_calls = false;  // by a constraint: a call is told while it comes, not once it is whole
  ToolList tool_list = {};   // what may be called
  std::vector<std::string> stops = {};
  bool skip_special = true;
};

/// Whether the vocabulary has <think> and </think>: what AnswerSetting::has_reasoning should be.
bool has_reasoning(const Tokenizer& tokenizer);

/// One answer's text. Markers (<think>, </think>, <tool_call>, </tool_call>, <|python_tag|>) are
/// recognised as tokens where the vocabulary has them, else as text. Thoughts stand at the
/// beginning; the newlines at their ends and before the content are left out. Stop strings are
/// sought in all that follows: the first that is complete counts, the longest of those that end at
/// one place. White space beside tool calls is left out. What is no valid call is content.
class AnswerText {
 public:
  struct Step {
    std::vector<AnswerDelta> deltas;
    bool found_stop = false;  // the answer ended before a stop string; further tokens are ignored
  };

  /// The tokenizer has to outlive it. Empty stop strings are ignored.
  AnswerText(const Tokenizer& tokenizer, const AnswerSetting& setting);
  ~AnswerText();
  AnswerText(AnswerText&&) noexcept;
  AnswerText& operator=(AnswerText&&) noexcept;

  /// What became certain with this token. An event without an id gives nothing.
  Step push(Event event);

  /// The rest of an answer that ends without a stop string; to be called once, at its end.
  Step finish();

  /// The stop string that ended the answer; empty: none did.
  std::string stop_string() const;
  int64_t reasoning_tokens() const;  // so far, markers too
  int64_t tool_calls() const;        // so far; if there are any, finish_reason is tool_calls

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace hypenet
