// What an answer goes on with, as AnswerText makes it of tokens.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/options.h"

namespace hypenet {

struct AnswerDelta {
  enum class Kind { kContent, kReasoning, kToolCall, kToolArguments } kind = Kind::kContent;
  std::string text = {};
  int64_t tool_index = 0;
  std::string tool_name = {};
  std::vector<Event> tokens = {};  // kContent: those whose text this is, for logprobs
};

}  // namespace hypenet
