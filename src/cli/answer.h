// One request run step by step, its text on standard output as it comes.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

#include "engine/engine.h"
#include "text/tokenizer.h"

namespace hypenet {

struct Answer {
  std::string text;
  int64_t tokens = 0;
  FinishReason finish = FinishReason::kNone;
  double prefill_seconds = 0;  // to the first token
  double decode_seconds = 0;   // from there to the end
};

/// Runs a submitted sequence of so many prompt tokens to its end, or until `stop` is set or
/// standard output fails. A prompt that takes longer than a second shows its progress on a
/// terminal.
Answer stream_answer(Engine& engine, const Tokenizer& tokenizer, int64_t sequence,
                     int64_t prompt_tokens, const std::atomic<bool>& stop);

/// "stop", "length" or "cancelled".
std::string_view to_string(FinishReason reason);

}  // namespace hypenet
