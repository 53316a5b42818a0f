// What a model folder says about text: its tokenizer, its chat template, and what ends an answer.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/json.h"
#include "text/chat_prompt.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace hypenet {

/// Any thread may ask. The template is read when it is first asked for: most models without one
/// are never asked to chat.
class TextSide {
 public:
  /// Of a folder or a GGUF file. Throws Error as Tokenizer::load does.
  static std::shared_ptr<TextSide> load(const std::filesystem::path& folder);

  const Tokenizer& tokenizer() const { return tokenizer_; }

  /// Throws Error where the folder has none, and as ChatTemplate::load does.
  const ChatTemplate& chat();

  /// The template's text; empty where the folder has none.
  std::string template_text() const;

  /// What ends a text, and (`of_chat`) a turn. Throws Error as read_stop_ids and chat() do.
  std::vector<int32_t> stop_ids(bool of_chat);

  /// A conversation as text, and as ids. `messages` is an array of objects with a role; `options`
  /// an object of ChatOptions' keys; others are variables of the template. Throws Error as chat()
  /// and ChatTemplate::render_pieces do.
  std::string render(const Json& messages, const Json& options);
  EncodedPrompt encode_chat(const Json& messages, const Json& options, bool specials_in_messages);

 private:
  TextSide(std::filesystem::path folder, Tokenizer tokenizer)
      : folder_(std::move(folder)), tokenizer_(std::move(tokenizer)) {}

  std::filesystem::path folder_;
  Tokenizer tokenizer_;
  std::mutex mutex_;
  std::unique_ptr<const ChatTemplate> chat_;  // null: not yet asked for
};

}  // namespace hypenet
