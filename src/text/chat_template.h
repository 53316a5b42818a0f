// Chat templates of the families ChatML (Qwen3, Qwen2, SmolLM2) and Llama 3: messages to the text
// that the model was trained on. Which family, default system prompt, BOS and date are read from
// the template itself; anything that it has beyond what is known is an error, never a guess.
#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace hypenet {

struct ChatMessage {
  std::string role;  // "system", "user" or "assistant"
  std::string content;
};

struct ChatOptions {
  bool add_generation_prompt = true;  // ends where the assistant's answer begins
  bool enable_thinking = true;        // Qwen3: false puts an empty thought before the answer
  std::string date;  // for templates that tell today's, as "26 Jul 2024"; empty: the local date
};

/// A template that was recognised. Immutable, so it may be shared between threads.
class ChatTemplate {
 public:
  /// Reads <folder>/chat_template.jinja or, without one, `chat_template` of tokenizer_config.json:
  /// a text, or a list of {name, template} of which "default" counts. Throws Error naming the file,
  /// what was expected and what was found when there is none or it is no template of the families.
  static ChatTemplate load(const std::filesystem::path& folder);

  /// A template's text. `bos` is what it calls bos_token; `place` names it in errors.
  static ChatTemplate parse(std::string_view text, std::string_view bos, const std::string& place);

  /// "chatml" (no default system prompt), "llama3" (no preamble), or "none" for models without a
  /// template: the answer continues the user's text, further turns begin on a new line. Throws
  /// Error naming the choices.
  static ChatTemplate named(std::string_view name);

  /// The text of a conversation, as transformers' apply_chat_template renders it without tools.
  /// It holds BOS where the template does, so nothing is to be put before its ids. Throws Error for
  /// no messages and for other roles.
  std::string render(std::span<const ChatMessage> messages, const ChatOptions& options = {}) const;

  /// "ChatML", "Llama 3", or "none".
  std::string_view family_name() const;

  /// The token that ends a turn, like <|im_end|>; empty for "none".
  std::string_view end_of_turn() const;

  /// What the model is told when the conversation has no system message; empty: nothing.
  const std::string& default_system_prompt() const { return default_system_; }

 private:
  enum class Family { kPlain, kChatMl, kLlama3 };

  /// The start of Llama 3.1's system turn: "<before><date><after>".
  struct Preamble {
    std::string before, after;
    std::string date;  // empty: today's
  };

  class Reader;  // fills one from a template's statements

  static std::string render_plain(std::span<const ChatMessage> messages);
  std::string render_chatml(std::span<const ChatMessage> messages,
                            const ChatOptions& options) const;
  std::string render_llama3(std::span<const ChatMessage> messages,
                            const ChatOptions& options) const;

  Family family_ = Family::kPlain;
  std::string bos_, default_system_, generation_prompt_;
  std::optional<std::string> empty_thought_;  // ChatML: what enable_thinking == false appends
  bool drops_thoughts_ = false;               // ChatML: earlier answers lose their <think> block
  bool keeps_last_thought_ = false;           // Qwen3: answers to the last question have one always
  std::optional<Preamble> preamble_;          // Llama 3.1 and later
};

}  // namespace hypenet
