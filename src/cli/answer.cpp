// An answer's text, and how long it takes.
#include "cli/answer.h"

#include <fmt/format.h>
#include <unistd.h>

#include <iostream>

#include "base/seconds.h"
#include "cli/numbers.h"

namespace hypenet {
namespace {

using std::chrono::steady_clock;
constexpr double kLongPrefill = 1;  // seconds after which its progress is shown

}  // namespace

StreamedAnswer::StreamedAnswer(Engine& engine, const Tokenizer& tokenizer, Request request)
    : engine_(engine),
      decoder_(tokenizer),
      prompt_tokens_(std::ssize(request.prompt)),
      prefilled_before_(engine.stats().prefilled_tokens),
      answers_(engine) {
  const auto on_token = [this](const Event& event) {
    end_prefill();
    ++answer_.tokens;
    if (event.report) answer_.reused = event.report->reused;
    print(decoder_.push(event.id));
    return true;
  };
  const auto on_end = [this](const Completion& all) {
    end_prefill();
    check_finite("the model's logits", all);
    answer_.finish = all.finish;
    answer_.ids = all.ids;
  };
  answers_.add(std::move(request), on_token, on_end);
}

void StreamedAnswer::print(const std::string& text) {
  answer_.text += text;
  std::cout << text << std::flush;
}

void StreamedAnswer::show_prefill() {
  if (first_ || ::isatty(STDERR_FILENO) != 1 || seconds_since(start_) < kLongPrefill) return;
  if (!progress_) progress_ = std::make_unique<Progress>();
  progress_->show(fmt::format("prompt: {} of {} tokens",
                              with_commas(engine_.stats().prefilled_tokens - prefilled_before_),
                              with_commas(prompt_tokens_)));
}

void StreamedAnswer::end_prefill() {
  if (first_) return;
  first_ = steady_clock::now();
  answer_.prefill_seconds = seconds_since(start_);
  if (!progress_) return;
  progress_->finish(fmt::format("prompt: {} tokens in {:.1f} s", with_commas(prompt_tokens_),
                                answer_.prefill_seconds));
}

Answer StreamedAnswer::run(const std::atomic<bool>& stop) {
  start_ = steady_clock::now();
  do {
    show_prefill();
    if (stop || !std::cout.good()) answers_.stop_all();
  } while (answers_.step());
  print(decoder_.finish());
  answer_.decode_seconds = seconds_since(*first_);
  return std::move(answer_);
}

}  // namespace hypenet
