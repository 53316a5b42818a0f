// Greedy answers of many prompts side by side, each ended by its own stop strings.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "text/tokenizer.h"

namespace hypenet {

struct Prompt {
  std::vector<int32_t> ids;
  std::vector<std::string> until = {};  // the answer ends once one of these shows in it
  int64_t max_tokens = 0;
};

class Generation {
 public:
  /// Answers end before any of `stop_ids` too. The engine must have nothing else under way.
  Generation(Engine& engine, const Tokenizer& tokenizer, std::vector<int32_t> stop_ids);

  /// Runs all prompts, the longest first. `on_answer` gets each prompt's place and its tokens when
  /// it has ended; `on_step` is called after each step of the engine. Either may throw to stop:
  /// nothing stays queued then. Throws Error for logits that are not finite and as Engine::submit.
  void run(std::span<const Prompt> prompts,
           const std::function<void(size_t, const std::vector<int32_t>&)>& on_answer,
           const std::function<void()>& on_step);

 private:
  struct Running {
    size_t place;
    std::vector<int32_t> ids = {};
    StreamDecoder decoder;
    std::string tail = {};  // of the decoded text, special tokens included
  };

  void submit(const Prompt& prompt, size_t place);
  bool take(const Event& event, std::span<const Prompt> prompts);
  void cancel_all();

  Engine& engine_;
  const Tokenizer& tokenizer_;
  std::vector<int32_t> stop_ids_;
  std::map<int64_t, Running> running_;  // by the engine's number
};

}  // namespace hypenet
