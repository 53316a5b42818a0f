// What the forms of answers have in common: a choice put together of its deltas, and the JSON of
// counts, ends and log-probabilities.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "serve/api/answer_writer.h"

namespace hypenet {

/// A run of an answer of one kind, in the order of the answer.
struct AnswerBlock {
  enum class Kind { kContent, kReasoning, kCall } kind = Kind::kContent;
  std::string text = {};           // of a call: its arguments
  std::string name = {}, id = {};  // of a call
};

/// A choice put together of its deltas.
struct AnswerChoice {
  std::vector<AnswerBlock> blocks = {};
  FinishReason reason = FinishReason::kNone;
  std::string stop_string = {};

  void add(const AnswerDelta& delta, const std::string& call_id);
  bool has_calls() const;
  /// The texts of all blocks of a kind, joined.
  std::string text(AnswerBlock::Kind kind) const;
};

/// Whether a delta tells nothing.
bool is_empty(const AnswerDelta& delta);

/// The prefix and 24 random letters and digits.
std::string random_id(std::string_view prefix, Random& random);

/// "stop", "length" or "tool_calls".
std::string_view finish_name(FinishReason reason, bool has_calls);

/// Text as a JSON string, with its quotation marks; what is no UTF-8 becomes U+FFFD.
std::string quoted(const std::string& text);

Json usage_json(const Usage& usage);
Json timings_json(const Timings& timings);  // to a thousandth
Json progress_json(const PromptProgress& progress);

/// A log-probability as clients get it: the shortest number that is this float; -9999.0 for
/// -infinity, null for NaN.
Json logprob_json(float logprob);

/// The entries of a chat's logprobs.content for a delta's tokens, with `count` alternatives each.
Json chat_logprobs(const AnswerDelta& delta, int64_t count, const Tokenizer& tokenizer);

/// A completion's logprobs, delta by delta: text_offset counts the characters before.
class CompletionLogprobs {
 public:
  /// {"tokens","token_logprobs","top_logprobs","text_offset"} of the delta's tokens; top_logprobs
  /// is null where no alternatives are asked for.
  Json add(const AnswerDelta& delta, int64_t count, const Tokenizer& tokenizer);

 private:
  int64_t characters_ = 0;
};

/// Those of further tokens behind those before.
void append_completion_logprobs(Json& all, Json more);

/// Gathers what happens; a form's `finish` and `error` write it.
class WholeAnswer : public AnswerWriter {
 public:
  WholeAnswer(AnswerHead head, const char* call_prefix, const Tokenizer& tokenizer, Random random)
      : head_(std::move(head)),
        call_prefix_(call_prefix),
        tokenizer_(tokenizer),
        random_(random),
        choices_(static_cast<size_t>(head_.choices)) {}

  std::string begin(int64_t choice) override;
  std::string delta(int64_t choice, const AnswerDelta& delta) override;
  std::string end(int64_t choice, FinishReason reason, const std::string& stop_string) override;
  std::string error(const ApiError& error) override { return body_text(openai_error(error)); }

 protected:
  bool tells_logprobs() const { return head_.top_logprobs >= 0; }
  /// The members that OpenAI's answers begin with.
  Json head_json(const char* object) const;

  AnswerHead head_;
  const char* call_prefix_;  // of the ids of calls
  const Tokenizer& tokenizer_;
  Random random_;
  std::vector<AnswerChoice> choices_;
};

/// What OpenAI's two streams have in common: chunks whose fixed text is written once a choice.
class ChunkStream : public AnswerWriter {
 public:
  ChunkStream(AnswerHead head, const char* object, const Tokenizer& tokenizer, Random random);

  std::string progress(const PromptProgress& progress) override;
  std::string finish(const Usage& usage, const Timings& timings) override;
  std::string error(const ApiError& error) override;

 protected:
  bool tells_logprobs() const { return head_.top_logprobs >= 0; }
  /// A chunk of one choice: `member` is what it says, like "text":"x". `logprobs` and `finish` are
  /// JSON texts; a choice's last chunk, that with a finish, tells the seed.
  std::string chunk(int64_t choice, std::string_view member, std::string_view logprobs = "null",
                    std::string_view finish = {}) const;

  AnswerHead head_;
  const Tokenizer& tokenizer_;
  Random random_;

 private:
  /// A chunk without choices.
  std::string chunk_beside(const char* key, const Json& value, const Json& usage) const;

  Json beginning_;
  std::vector<std::string> befores_;  // by choice: the text up to `member`
  std::string after_;
};

/// What answer_writer chooses from.
std::unique_ptr<AnswerWriter> whole_chat(AnswerHead head, const Tokenizer& tokenizer,
                                         Random random);
std::unique_ptr<AnswerWriter> chat_stream(AnswerHead head, const Tokenizer& tokenizer,
                                          Random random);
std::unique_ptr<AnswerWriter> whole_completion(AnswerHead head, const Tokenizer& tokenizer,
                                               Random random);
std::unique_ptr<AnswerWriter> completion_stream(AnswerHead head, const Tokenizer& tokenizer,
                                                Random random);
std::unique_ptr<AnswerWriter> whole_anthropic(AnswerHead head, const Tokenizer& tokenizer,
                                              Random random);
std::unique_ptr<AnswerWriter> anthropic_stream(AnswerHead head, const Tokenizer& tokenizer,
                                               Random random);

}  // namespace hypenet
