// A message of several blocks may become several messages: results of tools have their own role.
#include "serve/api/anthropic_messages.h"

#include <array>

#include "serve/api/chat_messages.h"

namespace hypenet {
namespace {

constexpr std::string_view kBilling = "x-anthropic-billing-header:";

/// The message that is put together of blocks.
class Assembly {
 public:
  Assembly(std::string role, ChatRequest& request) : role_(std::move(role)), request_(request) {}

  void add_text(const std::string& text) {
    text_ += text;
    has_text_ = true;
  }
  void add_thought(const std::string& text) { thought_ += text; }
  void add_call(Json call) { calls_.push_back(std::move(call)); }

  /// A mark at the end of what was added, if anything was.
  void mark() {
    if (is_empty()) return;
    add_mark(request_, {std::ssize(request_.messages), std::ssize(text_)});
  }

  /// Appends the message, unless there is nothing to say.
  void flush() {
    if (is_empty()) return;
    Json message = {{"role", role_}, {"content", std::move(text_)}};
    if (!thought_.empty()) message["reasoning_content"] = std::move(thought_);
    if (!calls_.empty()) message["tool_calls"] = std::move(calls_);
    request_.messages.push_back(std::move(message));
    text_.clear();
    thought_.clear();
    calls_ = Json::array();
    has_text_ = false;
  }

 private:
  bool is_empty() const { return !has_text_ && calls_.empty() && thought_.empty(); }

  std::string role_;
  ChatRequest& request_;
  std::string text_, thought_;
  Json calls_ = Json::array();
  bool has_text_ = false;
};

[[noreturn]] void fail_block(const Field& type) {
  constexpr std::array<std::string_view, 4> kKnown = {"image", "document", "search_result",
                                                      "container_upload"};
  const std::string& kind = read_string(type);
  if (std::ranges::find(kKnown, kind) != kKnown.end() || kind.starts_with("server_") ||
      kind.ends_with("_tool_result")) {
    fail_unsupported(type, concat('"', kind, "\" blocks are"));
  }
  fail_value(type, "a block that such a message may have (text, thinking, tool_use, tool_result)");
}

/// A result or the system message, a string or text blocks: on_block(text, whether it is marked).
template <class OnBlock>
void read_texts(const Field& field, const ParseContext& context, OnBlock&& on_block) {
  if (!field.value.is_array()) {
    if (!field.value.is_string()) fail_type(field, "a string or an array of blocks");
    on_block(read_string(field), false);
    return;
  }
  const size_t count = read_array(field).size();
  for (size_t i = 0; i < count; ++i) {
    const Field block = field.item(i);
    read_object(block);
    const Field type = required(block, "type");
    if (read_string(type) != "text") fail_block(type);
    on_block(read_string(required(block, "text")), has_cache_mark(block));
    context.ignored.add_others(block, {"type", "text", "cache_control", "citations"});
  }
}

void read_result(const Field& block, ChatRequest& request, const ParseContext& context) {
  Json message = {{"role", "tool"},
                  {"content", ""},
                  {"tool_call_id", read_string(required(block, "tool_use_id"))}};
  std::string text;
  if (const auto content = block.find("content")) {
    read_texts(*content, context, [&](const std::string& part, bool is_marked) {
      text += part;
      if (is_marked) add_mark(request, {std::ssize(request.messages), std::ssize(text)});
    });
  }
  if (const auto failed = block.find("is_error")) read_boolean(*failed);
  if (has_cache_mark(block)) add_mark(request, {std::ssize(request.messages), std::ssize(text)});
  context.ignored.add_others(block,
                             {"type", "tool_use_id", "content", "is_error", "cache_control"});
  message["content"] = std::move(text);
  request.messages.push_back(std::move(message));
}

void read_user_block(const Field& block, Assembly& message, ChatRequest& request,
                     const ParseContext& context) {
  const Field type = required(block, "type");
  const std::string& kind = read_string(type);
  if (kind == "tool_result") {
    message.flush();
    read_result(block, request, context);
    return;
  }
  if (kind != "text") fail_block(type);
  message.add_text(read_string(required(block, "text")));
  if (has_cache_mark(block)) message.mark();
  context.ignored.add_others(block, {"type", "text", "cache_control", "citations"});
}

void read_assistant_block(const Field& block, Assembly& message, const ParseContext& context) {
  const Field type = required(block, "type");
  const std::string& kind = read_string(type);
  if (kind == "text") {
    message.add_text(read_string(required(block, "text")));
  } else if (kind == "thinking") {
    message.add_thought(read_string(required(block, "thinking")));
  } else if (kind == "tool_use") {
    message.add_call({{"id", read_string(required(block, "id"))},
                      {"type", "function"},
                      {"function",
                       {{"name", read_string(required(block, "name"))},
                        {"arguments", read_object(required(block, "input"))}}}});
  } else if (kind != "redacted_thinking") {
    fail_block(type);
  }
  if (has_cache_mark(block)) message.mark();
  context.ignored.add_others(block, {"type", "text", "thinking", "signature", "data", "id", "name",
                                     "input", "cache_control", "citations"});
}

void read_message(const Field& field, ChatRequest& request, const ParseContext& context) {
  constexpr std::array<std::string_view, 3> kRoles = {"user", "assistant", "system"};
  read_object(field);
  const size_t role = read_choice(required(field, "role"), kRoles);
  Assembly message(std::string(kRoles.at(role)), request);
  const Field content = required(field, "content");
  if (content.value.is_string()) {
    message.add_text(read_string(content));
  } else if (content.value.is_array()) {
    for (size_t i = 0; i < content.value.size(); ++i) {
      const Field block = content.item(i);
      read_object(block);
      if (kRoles.at(role) == "assistant") {
        read_assistant_block(block, message, context);
      } else {
        read_user_block(block, message, request, context);
      }
    }
  } else {
    fail_type(content, "a string or an array of blocks");
  }
  message.flush();
  context.ignored.add_others(field, {"role", "content"});
}

}  // namespace

void read_anthropic_system(const Field& field, ChatRequest& request, const ParseContext& context) {
  Assembly message("system", request);
  read_texts(field, context, [&](const std::string& text, bool is_marked) {
    if (field.value.is_array() && text.starts_with(kBilling)) {
      ++request.left_out_blocks;
      return;
    }
    message.add_text(text);
    if (is_marked) message.mark();
  });
  message.flush();
}

void read_anthropic_messages(const Field& field, ChatRequest& request,
                             const ParseContext& context) {
  const size_t count = read_array(field, {1, kMostMessages}).size();
  const size_t before = request.messages.size();
  for (size_t i = 0; i < count; ++i) read_message(field.item(i), request, context);
  if (request.messages.size() == before) fail_value(field, "a message that says something");
}

}  // namespace hypenet
