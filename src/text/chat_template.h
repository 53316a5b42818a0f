// Chat templates: messages to the text that the model was trained on. The template is Jinja
// (text/jinja/template.h) and runs as transformers' apply_chat_template runs it; what ends a turn
// and what the model is told by default are found in what it prints.
#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "text/jinja/template.h"

namespace hypenet {

struct ChatMessage {
  std::string role;  // "system", "user" or "assistant"
  std::string content;
};

struct ChatOptions {
  bool add_generation_prompt = true;         // ends where the assistant's answer begins
  bool continue_final_message = false;       // ends behind the text of the last, an assistant's
  std::optional<bool> enable_thinking = {};  // not given: as the template has it
  std::string date =
      {};                // for templates that tell today's, as "26 Jul 2024"; empty: the local date
  Json tools = nullptr;  // an array of JSON schemas, or null
  Json variables = Json::object();  // further variables of the template
};

/// Messages as render_pieces takes them. Throws Error for other roles than the three.
Json to_json(std::span<const ChatMessage> messages);

/// A template that was read. Immutable, so it may be shared between threads.
class ChatTemplate {
 public:
  /// Reads <folder>/chat_template.jinja or, without one, `chat_template` of tokenizer_config.json:
  /// a text, or a list of {name, template} of which "default" counts. bos_token, eos_token and the
  /// like are those of tokenizer_config.json, else of special_tokens_map.json. Throws Error naming
  /// the file, what was expected and what was found when there is none or it is no such template.
  /// `limits` are those of each rendering.
  static ChatTemplate load(const std::filesystem::path& folder, const JinjaLimits& limits = {});

  /// Whether the folder has one of these, readable or not.
  static bool is_in(const std::filesystem::path& folder);

  /// The text that load reads; nothing where the folder has none.
  static std::optional<std::string> text_in(const std::filesystem::path& folder);

  /// A template's text. `tokens` is an object of what it calls bos_token and so on, each a text;
  /// `place` names it in errors. Throws Error where it is no Jinja that is known here, and where it
  /// fails for one user's message or does not print it.
  static ChatTemplate parse(std::string_view text, const Json& tokens, const std::string& place,
                            const JinjaLimits& limits = {});

  /// "chatml" (no default system prompt), "llama3" (no preamble), or "none" for models without a
  /// template: the answer continues the user's text, further turns begin on a new line. Throws
  /// Error naming the choices.
  static ChatTemplate named(std::string_view name);

  /// The text of a conversation, as transformers' apply_chat_template renders it. It holds BOS
  /// where the template does, so nothing is to be put before its ids. Throws Error for no messages,
  /// for other roles, and where the template fails or refuses the conversation.
  std::string render(std::span<const ChatMessage> messages, const ChatOptions& options = {}) const;

  /// The same of messages as JSON: an array of objects with a role; whatever else they hold, such
  /// as tool_calls, is the template's to read. The pieces tell the template's text from theirs:
  /// only its own may become special tokens.
  std::vector<JinjaPiece> render_pieces(const Json& messages,
                                        const ChatOptions& options = {}) const;

  /// By what ends a turn: "ChatML", "Llama 3", or "its own"; "none" for models without a template.
  std::string_view family_name() const;

  /// The token that ends a turn, like <|im_end|>; empty for "none" and where there is none to see.
  const std::string& end_of_turn() const { return end_of_turn_; }

  /// What the model is told when the conversation has no system message; empty: nothing.
  const std::string& default_system_prompt() const { return default_system_; }

  /// The token that every turn's header begins with, like <|im_start|>; empty where roles differ in
  /// it or none is to see.
  const std::string& turn_token() const { return turn_token_; }

  /// Whether it prints `tools` that it is given.
  bool reads_tools() const { return reads_tools_; }

  /// Whether it prints the calls of an assistant's message. One that refuses the sample is taken
  /// to.
  bool reads_calls() const { return reads_calls_; }

  /// Whether `enable_thinking` changes what it prints.
  bool knows_thinking() const { return knows_thinking_; }

 private:
  explicit ChatTemplate(JinjaTemplate jinja) : jinja_(std::move(jinja)) {}

  void read_facts();
  void read_end_of_turn();
  void read_default_system();
  void read_turn_token();
  void read_switches();
  void read_calls();
  std::string sample(const std::vector<ChatMessage>& messages, ChatOptions options) const;
  std::vector<JinjaPiece> render_continued(const Json& messages, ChatOptions options) const;

  JinjaTemplate jinja_;
  Json tokens_ = Json::object();
  JinjaLimits limits_;
  bool is_plain_ = false;
  std::string end_of_turn_, default_system_, turn_token_;
  bool reads_tools_ = false, reads_calls_ = true, knows_thinking_ = false;
};

}  // namespace hypenet
