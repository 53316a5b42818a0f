// What is added to an answer.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/options.h"

namespace hypenet {

/// A token of the content, for logprobs.
struct AnswerToken {
  Event event;
  std::string bytes;  // what of it is in the answer; a piece of a character is possible
};

struct AnswerDelta {
  enum class Kind {
    kContent,
    kReasoning,
    kToolCall,      // a further call: its index and name, no text
    kToolArguments  // text goes on with the arguments of call tool_index
  };
  Kind kind = Kind::kContent;
  std::string text = {};                 // valid UTF-8
  int64_t tool_index = -1;               // from 0
  std::string tool_name = {};            // kToolCall
  std::vector<AnswerToken> tokens = {};  // kContent: their bytes are the text's, but for U+FFFD
};

/// Appends text of a kind; content and reasoning go on with the last delta where that is theirs.
AnswerDelta& add_text(std::vector<AnswerDelta>& deltas, AnswerDelta::Kind kind,
                      std::string_view bytes);

}  // namespace hypenet
