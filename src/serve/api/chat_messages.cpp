// Roles, texts in parts, thoughts and earlier tool calls.
#include "serve/api/chat_messages.h"

#include <array>

#include "base/bounded_json.h"

namespace hypenet {
namespace {

constexpr std::array<std::string_view, 5> kRoles = {"system", "developer", "user", "assistant",
                                                    "tool"};

/// One part of a content: its text. Other kinds are refused.
const std::string& read_part(const Field& part, const ParseContext& context) {
  read_object(part);
  const Field type = required(part, "type");
  const std::string& kind = read_string(type);
  for (const std::string_view other :
       {"image_url", "input_audio", "file", "refusal", "video_url"}) {
    if (kind == other) fail_unsupported(type, concat('"', kind, "\" parts are"));
  }
  if (kind != "text") fail_value(type, "\"text\"");
  context.ignored.add_others(part, {"type", "text", "cache_control"});
  return read_string(required(part, "text"));
}

/// A message's text: its parts joined. Marks of parts are the ends of their texts.
std::string read_content(const Field& content, ChatRequest& request, const ParseContext& context) {
  if (content.value.is_string()) return read_string(content);
  if (!content.value.is_array()) fail_type(content, "a string or an array of text parts");
  const size_t count = read_array(content, {.least = 1}).size();
  std::string text;
  for (size_t i = 0; i < count; ++i) {
    const Field part = content.item(i);
    text += read_part(part, context);
    if (has_cache_mark(part)) add_mark(request, {std::ssize(request.messages), std::ssize(text)});
  }
  return text;
}

Json read_call(const Field& call, const ParseContext& context) {
  constexpr std::string_view kTypes[] = {"function"};
  read_object(call);
  if (const auto type = call.find("type")) read_choice(*type, kTypes);
  const Field function = required(call, "function");
  read_object(function);
  Json result = {{"type", "function"},
                 {"function",
                  {{"name", read_string(required(function, "name"))},
                   {"arguments", call_arguments(read_string(required(function, "arguments")))}}}};
  if (const auto id = call.find("id")) result["id"] = read_string(*id);
  context.ignored.add_others(call, {"type", "id", "index", "function"});
  context.ignored.add_others(function, {"name", "arguments"});
  return result;
}

/// What assistants' messages have beside their content.
void read_assistant(const Field& message, Json& result, const ParseContext& context) {
  for (const char* name : {"reasoning_content", "reasoning"}) {
    const auto thought = message.find(name);
    if (!thought) continue;
    result["reasoning_content"] = read_string(*thought);
    break;
  }
  const auto calls = message.find("tool_calls");
  if (!calls) return;
  const size_t count = read_array(*calls, {.least = 0, .most = kMostTools}).size();
  Json list = Json::array();
  for (size_t i = 0; i < count; ++i) list.push_back(read_call(calls->item(i), context));
  if (!list.empty()) result["tool_calls"] = std::move(list);
}

Json read_message(const Field& message, ChatRequest& request, const ParseContext& context) {
  read_object(message);
  std::string role(kRoles.at(read_choice(required(message, "role"), kRoles)));
  if (role == "developer") role = "system";
  const bool is_assistant = role == "assistant";
  if (const auto call = message.find("function_call")) fail_unsupported(*call, "it is");
  if (const auto audio = message.find("audio")) fail_unsupported(*audio, "it is");
  Json result = {{"role", role}, {"content", ""}};
  if (is_assistant) read_assistant(message, result, context);
  const auto content = message.find("content");
  if (content) {
    result["content"] = read_content(*content, request, context);
  } else if (!result.contains("tool_calls")) {
    fail_missing(message.path + ".content");
  }
  for (const char* name : {"name", "tool_call_id"}) {
    if (const auto text = message.find(name)) result[name] = read_string(*text);
  }
  if (has_cache_mark(message)) {
    add_mark(request, {std::ssize(request.messages),
                       std::ssize(result["content"].get_ref<const std::string&>())});
  }
  if (is_assistant) {
    context.ignored.add_others(
        message, {"role", "content", "name", "tool_call_id", "tool_calls", "reasoning_content",
                  "reasoning", "refusal", "cache_control", "function_call", "audio"});
  } else {
    context.ignored.add_others(message, {"role", "content", "name", "tool_call_id", "cache_control",
                                         "function_call", "audio"});
  }
  return result;
}

}  // namespace

void read_messages(const Field& field, ChatRequest& request, const ParseContext& context) {
  const size_t count = read_array(field, {1, kMostMessages}).size();
  for (size_t i = 0; i < count; ++i) {
    Json message = read_message(field.item(i), request, context);
    request.messages.push_back(std::move(message));
  }
}

void check_final_message(const ChatRequest& request, const std::string& path) {
  if (!request.continues_final_message) return;
  const Json& last = request.messages.back();
  if (last["role"] == "assistant" && !last.contains("tool_calls")) return;
  throw ApiError("invalid_value",
                 concat(path,
                        ": expected a last message of the assistant without tool calls to "
                        "go on with, found another"),
                 path);
}

bool has_cache_mark(const Field& object) {
  constexpr std::string_view kTypes[] = {"ephemeral"};
  const auto mark = object.find("cache_control");
  if (!mark) return false;
  read_object(*mark);
  read_choice(required(*mark, "type"), kTypes);
  return true;
}

void add_mark(ChatRequest& request, CacheMark mark) {
  if (std::ssize(request.marks) == kMostMarks) {
    throw ApiError("invalid_value",
                   concat("messages: expected at most ", kMostMarks,
                          " cache_control marks, found "
                          "more"),
                   "messages");
  }
  request.marks.push_back(mark);
}

Json call_arguments(const std::string& text) {
  constexpr int64_t kMostNested = 64;
  if (text.empty()) return Json::object();  // some clients' calls without arguments
  Json arguments;
  if (parse_bounded_json(text, kMostNested, arguments) || !arguments.is_object()) return text;
  return arguments;
}

}  // namespace hypenet
