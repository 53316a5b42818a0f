// Options of a template are keys of an object, as transformers' apply_chat_template takes them.
#include "python/text_side.h"

#include <utility>

#include "base/error.h"
#include "text/stop_ids.h"

namespace hypenet {
namespace {

bool flag_of(const std::string& key, const Json& value) {
  HYPENET_CHECK(value.is_boolean(), key, ": expected True or False, found ", json_kind(value));
  return value.get<bool>();
}

ChatOptions chat_options(const Json& options) {
  ChatOptions chat;
  for (const auto& [key, value] : options.items()) {
    if (key == "add_generation_prompt") {
      chat.add_generation_prompt = flag_of(key, value);
    } else if (key == "continue_final_message") {
      chat.continue_final_message = flag_of(key, value);
    } else if (key == "enable_thinking") {
      chat.enable_thinking = flag_of(key, value);
    } else if (key == "tools") {
      chat.tools = value;
    } else {
      chat.variables[key] = value;
    }
  }
  return chat;
}

}  // namespace

std::shared_ptr<TextSide> TextSide::load(const std::filesystem::path& folder) {
  return std::shared_ptr<TextSide>(new TextSide(folder, Tokenizer::load(folder)));
}

const ChatTemplate& TextSide::chat() {
  const std::scoped_lock lock(mutex_);
  if (chat_) return *chat_;
  HYPENET_CHECK(ChatTemplate::is_in(folder_), folder_.string(),
                ": expected a chat template (chat_template.jinja, or chat_template of "
                "tokenizer_config.json), found none");
  chat_ = std::make_unique<ChatTemplate>(ChatTemplate::load(folder_));
  return *chat_;
}

std::string TextSide::template_text() const { return ChatTemplate::text_in(folder_).value_or(""); }

std::vector<int32_t> TextSide::stop_ids(bool of_chat) {
  return of_chat ? read_chat_stop_ids(folder_, tokenizer_, chat())
                 : read_stop_ids(folder_, tokenizer_);
}

std::string TextSide::render(const Json& messages, const Json& options) {
  std::string text;
  for (const JinjaPiece& piece : chat().render_pieces(messages, chat_options(options))) {
    text += piece.text;
  }
  return text;
}

EncodedPrompt TextSide::encode_chat(const Json& messages, const Json& options,
                                    bool specials_in_messages) {
  PromptOptions prompt;
  prompt.specials_in_messages = specials_in_messages;
  return hypenet::encode_chat(tokenizer_, chat(), messages, chat_options(options), prompt);
}

}  // namespace hypenet
