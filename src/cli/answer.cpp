// The engine's steps seen from one sequence.
#include "cli/answer.h"

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <iostream>
#include <memory>
#include <optional>

#include "base/error.h"
#include "cli/numbers.h"
#include "cli/progress.h"

namespace hypenet {
namespace {

using std::chrono::steady_clock;
constexpr double kLongPrefill = 1;  // seconds after which its progress is shown

double seconds_since(steady_clock::time_point start) {
  return std::chrono::duration<double>(steady_clock::now() - start).count();
}

/// Of a long prompt, on a terminal.
class PrefillProgress {
 public:
  PrefillProgress(const Engine& engine, int64_t tokens)
      : engine_(engine), before_(engine.stats().prefilled_tokens), tokens_(tokens) {}

  void show() {
    if (::isatty(STDERR_FILENO) != 1 || seconds_since(start_) < kLongPrefill) return;
    if (!line_) line_ = std::make_unique<Progress>();
    line_->show(fmt::format("prompt: {} of {} tokens",
                            with_commas(engine_.stats().prefilled_tokens - before_),
                            with_commas(tokens_)));
  }

  /// Returns how long it took.
  double finish() {
    const double seconds = seconds_since(start_);
    if (line_) {
      line_->finish(fmt::format("prompt: {} tokens in {:.1f} s", with_commas(tokens_), seconds));
    }
    line_.reset();
    return seconds;
  }

 private:
  const Engine& engine_;
  const int64_t before_, tokens_;
  const steady_clock::time_point start_ = steady_clock::now();
  std::unique_ptr<Progress> line_;
};

}  // namespace

Answer stream_answer(Engine& engine, const Tokenizer& tokenizer, int64_t sequence,
                     int64_t prompt_tokens, const std::atomic<bool>& stop) {
  Answer answer;
  StreamDecoder decoder(tokenizer);
  PrefillProgress progress(engine, prompt_tokens);
  std::optional<steady_clock::time_point> first;
  const auto print = [&](const std::string& text) {
    answer.text += text;
    std::cout << text << std::flush;
  };
  while (!engine.is_idle()) {
    if (stop || !std::cout.good()) engine.cancel(sequence);
    for (const Event& event : engine.step()) {
      if (!first) {
        answer.prefill_seconds = progress.finish();
        first = steady_clock::now();
      }
      answer.finish = event.finish;
      HYPENET_CHECK(event.finish != FinishReason::kNotFinite,
                    "the model's logits: expected finite numbers, found nan or infinity");
      if (event.id < 0) continue;
      ++answer.tokens;
      print(decoder.push(event.id));
    }
    if (!first) progress.show();
  }
  print(decoder.finish());
  if (first) answer.decode_seconds = seconds_since(*first);
  return answer;
}

std::string_view to_string(FinishReason reason) {
  switch (reason) {
    case FinishReason::kNone:
      return "none";
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kCancelled:
      return "cancelled";
    case FinishReason::kNotFinite:
      return "not finite";
  }
  throw Error("answer: unknown reason");
}

}  // namespace hypenet
