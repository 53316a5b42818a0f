// An answer in a client's form: whole or as a stream, chat, completion or Anthropic's message. All
// are told the same deltas, so that what a stream adds up to is the whole answer.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "serve/api/api_error.h"
#include "serve/api/generation_settings.h"
#include "serve/text/answer_delta.h"
#include "text/tokenizer.h"

namespace hypenet {

struct Usage {
  int64_t prompt_tokens = 0;      // counted once for all n choices
  int64_t completion_tokens = 0;  // of all choices, with those that ended them
  int64_t cached_tokens = 0;      // of the prompt: taken over from earlier requests
  int64_t kept_tokens = 0;        // of the prompt: newly kept for later ones
  int64_t reasoning_tokens = 0;
};

/// An extension of the answers: where the time went.
struct Timings {
  double queue_ms = 0, prompt_ms = 0, prompt_per_second = 0, first_token_ms = 0, decode_ms = 0,
         decode_per_second = 0;
  int64_t reused_tokens = 0;
  std::string reuse_tier = "none";  // gpu, host, disk
  std::string reuse_mode = "exact";
  int64_t snapshot_position = 0;

  template <class Visitor>
  void visit(Visitor&& field) {
    field("queue_ms", queue_ms);
    field("prompt_ms", prompt_ms);
    field("prompt_per_second", prompt_per_second);
    field("first_token_ms", first_token_ms);
    field("decode_ms", decode_ms);
    field("decode_per_second", decode_per_second);
    field("reused_tokens", reused_tokens);
    field("reuse_tier", reuse_tier);
    field("reuse_mode", reuse_mode);
    field("snapshot_position", snapshot_position);
  }
};

struct PromptProgress {
  int64_t processed = 0, cached = 0, total = 0;  // tokens of the prompt
  double ms = 0;                                 // since the request was admitted
};

/// What is known of an answer before its first token.
struct AnswerHead {
  std::string id;       // answer_id
  int64_t created = 0;  // seconds since 1970
  std::string model;    // as the answer names it
  std::string fingerprint;
  int64_t seed = 0;
  int64_t prompt_tokens = 0;
  int64_t choices = 1;  // of all prompts together
  int64_t top_logprobs = -1;
  bool includes_usage = false, includes_progress = false;
};

/// Writes one answer. Each call returns the bytes to send now: events of a stream (often one, also
/// none), or nothing until `finish` returns a whole answer's JSON. Not for two threads at once.
class AnswerWriter {
 public:
  virtual ~AnswerWriter() = default;

  /// A choice begins; every other call of it comes later. Choices may be interleaved.
  virtual std::string begin(int64_t choice) = 0;
  /// What an answer goes on with. A completion's echo is a first delta with the prompt's text and
  /// tokens; a token whose logprob is NaN has none (the first of a prompt).
  virtual std::string delta(int64_t choice, const AnswerDelta& delta) = 0;
  /// A choice ended: kStop (tool_calls, where it has some), else "length". `stop_string`: the text
  /// that ended it, if one did.
  virtual std::string end(int64_t choice, FinishReason reason, const std::string& stop_string) = 0;
  /// Progress of the prompt, before the first token; forms that have no place for it tell nothing.
  virtual std::string progress(const PromptProgress&) { return {}; }
  /// All choices ended: the last events, or the whole answer.
  virtual std::string finish(const Usage& usage, const Timings& timings) = 0;
  /// It failed: the last event of a stream, or the body of an answer with error.status().
  virtual std::string error(const ApiError& error) = 0;
};

/// The form of an answer.
enum class AnswerForm { kChat, kCompletion, kAnthropic };

/// "chatcmpl-", "cmpl-" or "msg_" and 24 random letters and digits.
std::string answer_id(AnswerForm form, Random& random);

/// A writer of this form. The tokenizer (texts of log-probabilities) has to outlive it; `random`
/// names tool calls.
std::unique_ptr<AnswerWriter> answer_writer(AnswerForm form, bool streams, AnswerHead head,
                                            const Tokenizer& tokenizer, Random random);

}  // namespace hypenet
