// Finding a folder's template, and rendering as it would.
#include "text/chat_template.h"

#include <algorithm>
#include <array>
#include <ctime>
#include <vector>

#include "base/files.h"
#include "base/json.h"
#include "text/unicode.h"

namespace hypenet {
namespace {

constexpr std::string_view kTurnBegins = "<|im_start|>", kTurnEnds = "<|im_end|>";
constexpr std::string_view kHeaderBegins = "<|start_header_id|>",
                           kHeaderEnds = "<|end_header_id|>\n\n", kEndOfTurn = "<|eot_id|>";
constexpr std::string_view kThoughtBegins = "<think>", kThoughtEnds = "</think>";

template <class List>
bool is_one_of(std::string_view text, const List& list) {
  return std::ranges::find(list, text) != std::end(list);
}

std::string_view without_newlines_left(std::string_view text) {
  return text.substr(std::min(text.find_first_not_of('\n'), text.size()));
}

std::string_view without_newlines_right(std::string_view text) {
  return text.substr(0, text.find_last_not_of('\n') + 1);
}

/// Python's str.strip(), which is Jinja's trim.
std::string_view trimmed(std::string_view text) {
  const auto is_space = [](char32_t code) {
    return is_white_space(code) || (code >= 0x1C && code <= 0x1F);
  };
  size_t begin = text.size(), end = 0;
  for (size_t at = 0; at < text.size();) {
    const Utf8Step step = read_utf8(text, at);
    if (!is_space(step.code)) {
      begin = std::min(begin, at);
      end = at + step.size;
    }
    at += step.size;
  }
  return begin < end ? text.substr(begin, end - begin) : std::string_view();
}

/// An answer's thought and what came after it, both without the line breaks between them.
struct Answer {
  std::string_view thought, content;
};

Answer split_answer(std::string_view text) {
  const size_t last = text.rfind(kThoughtEnds);
  if (last == std::string_view::npos) return {{}, text};
  std::string_view thought = without_newlines_right(text.substr(0, text.find(kThoughtEnds)));
  const size_t begin = thought.rfind(kThoughtBegins);
  if (begin != std::string_view::npos) thought.remove_prefix(begin + kThoughtBegins.size());
  return {without_newlines_right(without_newlines_left(thought)),
          without_newlines_left(text.substr(last + kThoughtEnds.size()))};
}

/// Which message asks what the answers after it are to: the last user's that is no tool's reply.
size_t last_question(std::span<const ChatMessage> messages) {
  for (size_t i = messages.size(); i-- > 0;) {
    const std::string& text = messages[i].content;
    const bool is_reply = text.starts_with("<tool_response>") && text.ends_with("</tool_response>");
    if (messages[i].role == "user" && !is_reply) return i;
  }
  return messages.size() - 1;
}

std::string local_date() {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  ::localtime_r(&now, &local);
  constexpr std::array<const char*, 12> kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                   "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  return concat(local.tm_mday < 10 ? "0" : "", local.tm_mday, " ",
                kMonths[static_cast<size_t>(local.tm_mon)], " ", local.tm_year + 1900);
}

std::string token_text(const Json& config, const char* key) {
  if (!config.contains(key)) return "";
  const Json& entry = config[key];
  const Json& content = entry.is_object() && entry.contains("content") ? entry["content"] : entry;
  return content.is_string() ? content.get<std::string>() : "";
}

/// chat_template of tokenizer_config.json: a text, or named ones of which "default" counts.
std::string configured_template(const Json& config, const std::string& place) {
  HYPENET_CHECK(
      config.is_object() && config.contains("chat_template") && !config["chat_template"].is_null(),
      place, ": chat_template: expected a ChatML or Llama 3 template, found none");
  const Json& entry = config["chat_template"];
  if (entry.is_string()) return entry.get<std::string>();
  HYPENET_CHECK(entry.is_array(), place, ": chat_template: expected a string or an array, found ",
                json_kind(entry));
  for (const Json& named : entry) {
    if (named.is_object() && named.value("name", Json()) == "default" &&
        named.contains("template") && named["template"].is_string()) {
      return named["template"].get<std::string>();
    }
  }
  throw Error(concat(place, ": chat_template: expected one named \"default\", found none"));
}

}  // namespace

ChatTemplate ChatTemplate::load(const std::filesystem::path& folder) {
  const auto config_path = folder / "tokenizer_config.json";
  const Json config =
      std::filesystem::exists(config_path) ? read_json(config_path) : Json(Json::object());
  const std::string bos = config.is_object() ? token_text(config, "bos_token") : "";
  const auto file = folder / "chat_template.jinja";
  if (std::filesystem::exists(file)) return parse(read_file(file), bos, file.string());
  return parse(configured_template(config, config_path.string()), bos,
               config_path.string() + ": chat_template");
}

ChatTemplate ChatTemplate::named(std::string_view name) {
  ChatTemplate result;
  if (name == "none") return result;
  if (name == "chatml") {
    result.family_ = Family::kChatMl;
    result.generation_prompt_ = "<|im_start|>assistant\n";
    return result;
  }
  HYPENET_CHECK(name == "llama3", "template: expected none, chatml or llama3, found \"", name,
                "\"");
  result.family_ = Family::kLlama3;
  result.bos_ = "<|begin_of_text|>";
  result.generation_prompt_ = "<|start_header_id|>assistant<|end_header_id|>\n\n";
  return result;
}

std::string ChatTemplate::render(std::span<const ChatMessage> messages,
                                 const ChatOptions& options) const {
  constexpr std::array<std::string_view, 3> kRoles = {"system", "user", "assistant"};
  HYPENET_CHECK(!messages.empty(), "chat: expected at least one message, found none");
  for (const ChatMessage& message : messages) {
    HYPENET_CHECK(is_one_of(message.role, kRoles),
                  "chat: role: expected system, user or assistant, found \"", message.role, "\"");
  }
  switch (family_) {
    case Family::kPlain:
      return render_plain(messages);
    case Family::kChatMl:
      return render_chatml(messages, options);
    case Family::kLlama3:
      return render_llama3(messages, options);
  }
  throw Error("chat: unknown family");
}

std::string_view ChatTemplate::family_name() const {
  switch (family_) {
    case Family::kPlain:
      return "none";
    case Family::kChatMl:
      return "ChatML";
    case Family::kLlama3:
      return "Llama 3";
  }
  throw Error("chat: unknown family");
}

std::string_view ChatTemplate::end_of_turn() const {
  switch (family_) {
    case Family::kPlain:
      return "";
    case Family::kChatMl:
      return kTurnEnds;
    case Family::kLlama3:
      return kEndOfTurn;
  }
  throw Error("chat: unknown family");
}

std::string ChatTemplate::render_plain(std::span<const ChatMessage> messages) {
  std::string text;
  for (const ChatMessage& message : messages) {
    const bool begins_line = message.role != "assistant" && !text.empty() && text.back() != '\n';
    if (begins_line) text += '\n';
    text += message.content;
  }
  return text;
}

std::string ChatTemplate::render_chatml(std::span<const ChatMessage> messages,
                                        const ChatOptions& options) const {
  std::string text = bos_;
  const auto add = [&](std::string_view role, std::string_view content) {
    text += concat(kTurnBegins, role, "\n", content, kTurnEnds, "\n");
  };
  if (messages[0].role != "system" && !default_system_.empty()) add("system", default_system_);
  const size_t question = last_question(messages);
  for (size_t i = 0; i < messages.size(); ++i) {
    const ChatMessage& message = messages[i];
    if (message.role != "assistant" || !drops_thoughts_) {
      add(message.role, message.content);
      continue;
    }
    const Answer answer = split_answer(message.content);
    const bool is_last = i + 1 == messages.size();
    if (keeps_last_thought_ && i > question && (is_last || !answer.thought.empty())) {
      add(message.role, concat(kThoughtBegins, "\n", answer.thought, "\n", kThoughtEnds, "\n\n",
                               without_newlines_left(answer.content)));
    } else {
      add(message.role, answer.content);
    }
  }
  if (!options.add_generation_prompt) return text;
  text += generation_prompt_;
  if (!options.enable_thinking && empty_thought_) text += *empty_thought_;
  return text;
}

std::string ChatTemplate::render_llama3(std::span<const ChatMessage> messages,
                                        const ChatOptions& options) const {
  std::string text = bos_;
  const auto header = [](std::string_view role) {
    return concat(kHeaderBegins, role, kHeaderEnds);
  };
  if (preamble_) {
    std::string date = preamble_->date;
    if (date.empty()) date = options.date.empty() ? local_date() : options.date;
    text += concat(header("system"), preamble_->before, date, preamble_->after);
    if (messages[0].role == "system") {
      text += trimmed(messages[0].content);
      messages = messages.subspan(1);
    }
    text += kEndOfTurn;
  }
  for (const ChatMessage& message : messages) {
    text += concat(header(message.role), trimmed(message.content), kEndOfTurn);
  }
  if (options.add_generation_prompt) text += generation_prompt_;
  return text;
}

}  // namespace hypenet
