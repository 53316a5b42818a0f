// One request run step by step, its text on standard output as it comes.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/progress.h"
#include "engine/answers.h"
#include "text/tokenizer.h"

namespace hypenet {

struct Answer {
  std::string text;
  int64_t tokens = 0;
  std::vector<int32_t> ids = {};  // all but one that ended it
  int64_t reused = 0;             // tokens of the prompt that were not read again
  FinishReason finish = FinishReason::kNone;
  double prefill_seconds = 0;  // to the first token
  double decode_seconds = 0;   // from there to the end
};

class StreamedAnswer {
 public:
  /// Queues the request. Throws Error as Engine::submit does.
  StreamedAnswer(Engine& engine, const Tokenizer& tokenizer, Request request);

  /// Prints the answer until it ends, `stop` is set or standard output fails. A prompt that takes
  /// longer than a second shows its progress on a terminal. To be called once.
  Answer run(const std::atomic<bool>& stop);

 private:
  using Time = std::chrono::steady_clock::time_point;

  void print(const std::string& text);
  void show_prefill();
  void end_prefill();

  const Engine& engine_;
  StreamDecoder decoder_;
  Answer answer_;
  int64_t prompt_tokens_, prefilled_before_;
  Time start_;
  std::optional<Time> first_;           // when the first token came
  std::unique_ptr<Progress> progress_;  // of the prompt; null: not shown
  Answers answers_;                     // whose functions use the others
};

}  // namespace hypenet
