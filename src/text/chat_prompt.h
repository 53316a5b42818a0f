// A conversation as a model reads it: ids, in which only the template's own text became special
// tokens, and the places where a prefill may be cut so that the next request can go on from there.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/json.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace hypenet {

/// A place between two tokens.
struct PromptBorder {
  enum class Kind {
    kTurn,       // here begins a turn: its header's special token, else a message's content
    kSystemEnd,  // a turn too; before it there are only system messages and tools
    kClient      // a mark of the client
  };
  int64_t position = 0;  // tokens before it
  Kind kind = Kind::kTurn;

  bool operator==(const PromptBorder&) const = default;
};

struct EncodedPrompt {
  std::vector<int32_t> ids;
  std::vector<PromptBorder> borders;  // ascending; of one position in the order of their kinds
  std::string text;                   // valid UTF-8
  bool opens_reasoning = false;       // it ends inside <think>
};

/// A place in a message that the client marked.
struct MessageMark {
  int64_t message = 0;  // its number, from 0
  int64_t end = -1;     // bytes of its content before the mark; -1, or all: the message's end
};

struct PromptOptions {
  bool specials_in_messages = false;  // special tokens are found there too, as by transformers
  std::vector<MessageMark> marks = {};
  StretchCache* known = nullptr;  // as for Tokenizer::encode_spans
  /// Sees the text before it is tokenized; may throw to refuse it.
  std::function<void(const std::string& text)> on_text = {};
};

/// The prompt of a conversation, as ChatTemplate::render_pieces renders it. A special token in a
/// message is plain text; where messages hold none, the ids are those of Tokenizer::encode of the
/// whole text. Nothing is put before them: BOS is there once if the template prints it. Turns and
/// ends of system messages are a function of what lies before them, so that conversations with the
/// same beginning have the same borders there. A mark of a message that is not printed is that of
/// the last one printed before it, if any. Throws Error as render_pieces does.
EncodedPrompt encode_chat(const Tokenizer& tokenizer, const ChatTemplate& chat,
                          const Json& messages, const ChatOptions& options = {},
                          const PromptOptions& prompt = {});

}  // namespace hypenet
