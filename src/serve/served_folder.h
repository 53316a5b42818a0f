// What is served: the model folder's facts that requests and answers need, beside its engines.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/grid.h"
#include "serve/api/served_model.h"
#include "serve/grammar/constraint.h"
#include "serve/text/tool_calls.h"
#include "text/chat_template.h"
#include "text/stretch_cache.h"
#include "text/tokenizer.h"

namespace hypenet {

/// Immutable while the server runs, so it is shared between threads.
struct ServedFolder {
  ServedModel model;
  Tokenizer tokenizer;
  std::optional<ChatTemplate> chat = {};  // none: chat requests are refused
  ToolFormat tool_format = ToolFormat::kNone;
  bool puts_tools_in_system = false;  // the template reads none, and the format was asked for
  bool has_reasoning = false;
  bool specials_in_messages = false;        // as transformers: messages may hold special tokens
  std::vector<int32_t> stop_ids = {};       // of completions
  std::vector<int32_t> chat_stop_ids = {};  // and what ends a turn
  int64_t longest_token = 0;                // bytes; 0: not known
  Grid grid = {};                           // of the engines
  std::string fingerprint = {};             // equal ones promise equal bits
  // What messages became, of all requests without a salt.
  std::shared_ptr<StretchCache> known_text = std::make_shared<StretchCache>();
  std::shared_ptr<GrammarCompiler> grammars = {};  // Service makes it, of the tokenizer above
};

}  // namespace hypenet
