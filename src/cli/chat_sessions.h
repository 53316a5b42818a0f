// :save and :load of `hypenet chat`: conversations on disk, in the files of the server's sessions.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "serve/sessions.h"
#include "store/checkpoint.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace hypenet {

/// $XDG_DATA_HOME/hypenet/sessions, else ~/.local/share/hypenet/sessions; empty where neither is
/// known.
std::filesystem::path default_session_folder();

class ChatSessions {
 public:
  /// All but the folder have to outlive it. Touches no file before it is used.
  ChatSessions(Engine& engine, const Checkpoint& checkpoint, const Tokenizer& tokenizer,
               std::filesystem::path folder)
      : engine_(engine),
        checkpoint_(checkpoint),
        tokenizer_(tokenizer),
        folder_(std::move(folder)) {}

  /// What an engine may have of a conversation: its tokens, and others that it may end with.
  struct Read {
    std::vector<int32_t> tokens;
    std::vector<int32_t> ends = {};  // the ids that may have ended the last answer
  };
  /// Writes what was read of a conversation, and its messages. Returns the tokens that it holds.
  /// Throws Error where nothing is kept of it, and as Sessions does.
  int64_t save(const std::string& name, const Read& read, std::span<const ChatMessage> messages);

  struct Loaded {
    std::vector<ChatMessage> messages;
    std::vector<int32_t> tokens = {};
    int64_t taken_over = 0;  // of them: they are not read again
  };
  /// Throws Error as Sessions does, and for a session without a conversation's messages.
  Loaded load(const std::string& name);

 private:
  Sessions& sessions();

  Engine& engine_;
  const Checkpoint& checkpoint_;
  const Tokenizer& tokenizer_;
  std::filesystem::path folder_;
  std::optional<Sessions> sessions_;  // from the first use on: its facts take a while
};

}  // namespace hypenet
