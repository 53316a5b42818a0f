// The server reads these files, too, where it computes alike.
#include "cli/chat_sessions.h"

#include <cstdlib>
#include <utility>

#include "base/error.h"
#include "cli/serve_model.h"

namespace hypenet {
namespace {

namespace fs = std::filesystem;

/// What a user typed need not be UTF-8, as JSON is.
Json json_of(std::span<const ChatMessage> messages) {
  Json list = Json::array();
  for (const ChatMessage& message : messages) {
    list.push_back({{"role", message.role}, {"content", message.content}});
  }
  return Json::parse(list.dump(-1, ' ', false, Json::error_handler_t::replace));
}

/// Texts of the three roles, as chat has them.
std::vector<ChatMessage> messages_of(const Json& list, const std::string& name) {
  std::vector<ChatMessage> messages;
  const auto text = [](const Json& message, const char* key) {
    return message.is_object() && message.contains(key) && message[key].is_string();
  };
  for (const Json& message : list) {
    HYPENET_CHECK(text(message, "role") && text(message, "content"), "session ", name,
                  ": expected messages of texts alone, found others");
    messages.push_back({message["role"], message["content"]});
  }
  HYPENET_CHECK(!messages.empty(), "session ", name,
                ": expected a conversation's messages, found none: it was saved by its tokens");
  to_json(messages);  // throws for other roles
  return messages;
}

}  // namespace

fs::path default_session_folder() {
  const char* const data = std::getenv("XDG_DATA_HOME");
  if (data != nullptr && *data != '\0') return fs::path(data) / "hypenet" / "sessions";
  const char* const home = std::getenv("HOME");
  if (home == nullptr || *home == '\0') return {};
  return fs::path(home) / ".local" / "share" / "hypenet" / "sessions";
}

Sessions& ChatSessions::sessions() {
  if (sessions_) return *sessions_;
  HYPENET_CHECK(!folder_.empty(), "sessions: expected --session-dir DIR, or HOME, found neither");
  SessionFacts facts = session_facts(engine_, tokenizer_);
  facts.model = weights_fingerprint(checkpoint_, engine_.config());
  try {
    return sessions_.emplace(folder_, std::move(facts));
  } catch (const fs::filesystem_error& error) {
    throw Error(concat(folder_.string(), ": ", error.code().message()));
  }
}

int64_t ChatSessions::save(const std::string& name, const Read& read,
                           std::span<const ChatMessage> messages) {
  const auto writing = sessions().begin_writing(name);
  std::optional<SavedPrefix> longest = engine_.save_prefix(read.tokens, "");
  // A GPU computes the token that ended an answer, too, and keeps what follows from it.
  for (const int32_t end : read.ends) {
    if (longest && longest->tokens.size() >= read.tokens.size()) break;
    auto tokens = read.tokens;
    tokens.push_back(end);
    auto found = engine_.save_prefix(tokens, "");
    if (found && (!longest || found->tokens.size() > longest->tokens.size())) longest = found;
  }
  HYPENET_CHECK(longest, "session ", name, ": expected a conversation that was read, found none");
  const auto about = sessions().save(name, *longest, std::ssize(read.tokens), json_of(messages));
  return about.saved_tokens;
}

ChatSessions::Loaded ChatSessions::load(const std::string& name) {
  Loaded loaded{.messages = messages_of(sessions().messages(name), name)};
  SavedPrefix prefix = sessions().load(name, false);
  loaded.taken_over = engine_.restore_prefix(prefix, "");
  loaded.tokens = std::move(prefix.tokens);
  return loaded;
}

}  // namespace hypenet
