// Finding a folder's template, its variables, and what its renderings show.
#include "text/chat_template.h"

#include <algorithm>
#include <array>
#include <ctime>

#include "base/files.h"
#include "gguf/model_files.h"

namespace hypenet {
namespace {

constexpr std::string_view kPlain =
    "{%- set ns = namespace(last='') %}"
    "{%- for message in messages %}"
    "{%- if message.role != 'assistant' and ns.last and ns.last != '\\n' %}{{ '\\n' }}{% endif %}"
    "{{- message.content }}"
    "{%- if message.content %}{% set ns.last = message.content[-1] %}{% endif %}"
    "{%- endfor %}";

constexpr std::string_view kChatMl =
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

constexpr std::string_view kLlama3 =
    "{{- bos_token }}"
    "{%- for message in messages %}"
    "{{- '<|start_header_id|>' + message.role + '<|end_header_id|>\\n\\n' }}"
    "{{- message.content | trim + '<|eot_id|>' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}"
    "{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}"
    "{%- endif %}";

constexpr const char* kAsked = "Hypenet asks this.";
constexpr const char* kAnswered = "Hypenet answers that.";
constexpr const char* kTold = "Hypenet tells so.";
constexpr const char* kTool = "hypenet_tool";

/// Now, or the day that a date like "26 Jul 2024" names.
std::tm time_of(const std::string& date) {
  const std::time_t now = std::time(nullptr);
  std::tm result{};
  ::localtime_r(&now, &result);
  if (date.empty()) return result;
  std::tm day{};
  const char* const end = ::strptime(date.c_str(), "%d %b %Y", &day);
  HYPENET_CHECK(end != nullptr && *end == '\0',
                "chat: date: expected a day like 26 Jul 2024, found \"", date, "\"");
  day.tm_isdst = -1;
  std::mktime(&day);
  return day;
}

/// A token of tokenizer_config.json: a text, or an object with its content.
const Json* token_text(const Json& entry) {
  const Json* const text =
      entry.is_object() && entry.contains("content") ? &entry["content"] : &entry;
  return text->is_string() ? text : nullptr;
}

/// bos_token, eos_token and all other keys of this kind whose value is a text.
void read_tokens(const Json& config, Json& tokens) {
  if (!config.is_object()) return;
  for (const auto& [key, entry] : config.items()) {
    const Json* const text = key.ends_with("_token") ? token_text(entry) : nullptr;
    if (text != nullptr && !tokens.contains(key)) tokens[key] = *text;
  }
}

/// chat_template of tokenizer_config.json: a text, or named ones of which "default" counts.
std::string configured_template(const Json& config, const std::string& place) {
  HYPENET_CHECK(
      config.is_object() && config.contains("chat_template") && !config["chat_template"].is_null(),
      place, ": chat_template: expected a template, found none");
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

/// Messages as transformers hands them on: without the keys that are null.
Json without_nulls(const Json& messages) {
  Json result = Json::array();
  for (const Json& message : messages) {
    Json kept = Json::object();
    for (const auto& [key, value] : message.items()) {
      if (!value.is_null()) kept[key] = value;
    }
    result.push_back(std::move(kept));
  }
  return result;
}

/// What a turn ends with: a token at the start of the text behind an answer.
std::string token_at_start(std::string_view text, const std::string& eos) {
  text.remove_prefix(std::min(text.find_first_not_of(" \n\r\t"), text.size()));
  if (!eos.empty() && text.starts_with(eos)) return eos;
  const size_t end = text.find('>');
  const bool is_token = text.starts_with('<') && end != std::string_view::npos &&
                        text.substr(0, end).find_first_of(" \n") == std::string_view::npos;
  return is_token ? std::string(text.substr(0, end + 1)) : "";
}

}  // namespace

Json to_json(std::span<const ChatMessage> messages) {
  constexpr std::array<std::string_view, 3> kRoles = {"system", "user", "assistant"};
  Json list = Json::array();
  for (const auto& [role, content] : messages) {
    HYPENET_CHECK(std::ranges::count(kRoles, role) > 0,
                  "chat: role: expected system, user or assistant, found \"", role, "\"");
    list.push_back({{"role", role}, {"content", content}});
  }
  return list;
}

ChatTemplate ChatTemplate::load(const std::filesystem::path& folder, const JinjaLimits& limits) {
  constexpr const char *kConfig = "tokenizer_config.json", *kMap = "special_tokens_map.json";
  const ModelFiles files(folder);
  const Json config = files.has(kConfig) ? files.json(kConfig) : Json(Json::object());
  Json tokens = Json::object();
  read_tokens(config, tokens);
  if (files.has(kMap)) read_tokens(files.json(kMap), tokens);
  const auto file = folder / "chat_template.jinja";
  if (std::filesystem::exists(file)) return parse(read_file(file), tokens, file.string(), limits);
  const std::string place = files.place(kConfig);
  return parse(configured_template(config, place), tokens, place + ": chat_template", limits);
}

bool ChatTemplate::is_in(const std::filesystem::path& folder) {
  if (std::filesystem::exists(folder / "chat_template.jinja")) return true;
  constexpr const char* kConfig = "tokenizer_config.json";
  const ModelFiles files(folder);
  if (!files.has(kConfig)) return false;
  const Json config = files.json(kConfig);
  return config.is_object() && config.contains("chat_template") &&
         !config["chat_template"].is_null();
}

std::optional<std::string> ChatTemplate::text_in(const std::filesystem::path& folder) {
  if (!is_in(folder)) return std::nullopt;
  const auto file = folder / "chat_template.jinja";
  if (std::filesystem::exists(file)) return read_file(file);
  constexpr const char* kConfig = "tokenizer_config.json";
  const ModelFiles files(folder);
  return configured_template(files.json(kConfig), files.place(kConfig));
}

ChatTemplate ChatTemplate::parse(std::string_view text, const Json& tokens,
                                 const std::string& place, const JinjaLimits& limits) {
  ChatTemplate result(JinjaTemplate::parse(text, place));
  if (tokens.is_object()) result.tokens_ = tokens;
  result.limits_ = limits;
  const bool is_read = result.sample({{"user", kAsked}}, {}).find(kAsked) != std::string::npos;
  HYPENET_CHECK(is_read, place,
                ": expected a chat template, which prints what a user says, found one that does "
                "not");
  result.read_facts();
  return result;
}

ChatTemplate ChatTemplate::named(std::string_view name) {
  const bool is_plain = name == "none";
  HYPENET_CHECK(is_plain || name == "chatml" || name == "llama3",
                "template: expected none, chatml or llama3, found \"", name, "\"");
  const Json tokens = {{"bos_token", "<|begin_of_text|>"}};
  const std::string_view text = is_plain ? kPlain : name == "chatml" ? kChatMl : kLlama3;
  ChatTemplate result = parse(text, tokens, concat("template ", name));
  result.is_plain_ = is_plain;
  return result;
}

std::string ChatTemplate::sample(const std::vector<ChatMessage>& messages,
                                 ChatOptions options) const {
  options.date = "26 Jul 2024";
  return render(messages, options);
}

/// A template that refuses one of these conversations does not show what is looked for in it.
void ChatTemplate::read_facts() {
  for (const auto read :
       {&ChatTemplate::read_end_of_turn, &ChatTemplate::read_default_system,
        &ChatTemplate::read_turn_token, &ChatTemplate::read_switches, &ChatTemplate::read_calls}) {
    try {
      (this->*read)();
    } catch (const Error&) {
      continue;
    }
  }
}

/// What stands behind an answer.
void ChatTemplate::read_end_of_turn() {
  const std::string text =
      sample({{"user", kAsked}, {"assistant", kAnswered}}, {.add_generation_prompt = false});
  const size_t at = text.rfind(kAnswered);
  if (at == std::string::npos) return;
  end_of_turn_ =
      token_at_start(std::string_view(text).substr(at + std::string_view(kAnswered).size()),
                     tokens_.value("eos_token", ""));
}

/// What stands where a system message would.
void ChatTemplate::read_default_system() {
  const ChatOptions options{.add_generation_prompt = false};
  const std::string told = sample({{"system", kTold}, {"user", kAsked}}, options);
  const std::string untold = sample({{"user", kAsked}}, options);
  const size_t at = told.find(kTold);
  if (at == std::string::npos) return;
  const std::string before = told.substr(0, at);
  const std::string after = told.substr(at + std::string_view(kTold).size());
  const bool fits = untold.size() >= before.size() + after.size() && untold.starts_with(before) &&
                    untold.ends_with(after);
  if (fits) {
    default_system_ = untold.substr(before.size(), untold.size() - before.size() - after.size());
  }
}

/// What stands behind the end of a turn, of a question's and of an answer's.
void ChatTemplate::read_turn_token() {
  const std::string text = sample({{"user", kAsked}, {"assistant", kAnswered}, {"user", kTold}},
                                  {.add_generation_prompt = false});
  const auto header_behind = [&](std::string_view content) {
    const size_t at = text.find(content);
    if (at == std::string::npos) return std::string();
    std::string_view rest = std::string_view(text).substr(at + content.size());
    const size_t end = end_of_turn_.empty() ? 0 : rest.find(end_of_turn_);
    const bool is_ended = rest.substr(0, end).find_first_not_of(" \n\r\t") == rest.npos;
    if (is_ended && end != rest.npos) rest.remove_prefix(end + end_of_turn_.size());
    return token_at_start(rest, "");
  };
  const std::string token = header_behind(kAsked);
  if (!token.empty() && token == header_behind(kAnswered)) turn_token_ = token;
}

/// Which variables change what it prints.
void ChatTemplate::read_switches() {
  const std::vector<ChatMessage> messages = {{"user", kAsked}};
  knows_thinking_ =
      sample(messages, {.enable_thinking = true}) != sample(messages, {.enable_thinking = false});
  const Json parameters = {{"type", "object"}, {"properties", Json::object()}};
  const Json function = {{"name", kTool}, {"description", kTold}, {"parameters", parameters}};
  const Json tools = Json::array({{{"type", "function"}, {"function", function}}});
  reads_tools_ = sample(messages, {.tools = tools}).find(kTool) != std::string::npos;
}

void ChatTemplate::read_calls() {
  const Json function = {{"name", kTool}, {"arguments", {{"key", "value"}}}};
  const Json call = {{"id", "call00000"}, {"type", "function"}, {"function", function}};
  const Json messages =
      Json::array({{{"role", "user"}, {"content", kAsked}},
                   {{"role", "assistant"}, {"content", ""}, {"tool_calls", Json::array({call})}}});
  const auto pieces = render_pieces(messages, {.add_generation_prompt = false});
  reads_calls_ = join_pieces(pieces).find(kTool) != std::string::npos;
}

std::string ChatTemplate::render(std::span<const ChatMessage> messages,
                                 const ChatOptions& options) const {
  return join_pieces(render_pieces(to_json(messages), options));
}

std::vector<JinjaPiece> ChatTemplate::render_pieces(const Json& messages,
                                                    const ChatOptions& options) const {
  HYPENET_CHECK(messages.is_array() && !messages.empty(),
                "chat: expected at least one message, found none");
  for (const Json& message : messages) {
    HYPENET_CHECK(message.is_object() && message.contains("role") && message["role"].is_string(),
                  "chat: expected messages with a role, found another value");
  }
  if (options.continue_final_message) return render_continued(messages, options);
  JinjaVariables variables;
  variables.limits = limits_;
  variables.now = time_of(options.date);
  variables.own = tokens_;
  variables.own["add_generation_prompt"] = options.add_generation_prompt;
  if (options.enable_thinking) variables.own["enable_thinking"] = *options.enable_thinking;
  variables.given["messages"] = without_nulls(messages);
  variables.given["tools"] = options.tools;
  variables.given["documents"] = nullptr;
  for (const auto& [name, value] : options.variables.items()) variables.given[name] = value;
  return jinja_.render(variables);
}

/// The text up to the end of what the last message brought; without such text, where it would
/// begin.
std::vector<JinjaPiece> ChatTemplate::render_continued(const Json& messages,
                                                       ChatOptions options) const {
  const Json& last = messages.back();
  HYPENET_CHECK(last["role"] == "assistant",
                "chat: continue_final_message: expected a last message of the assistant, found one "
                "of ",
                last["role"].get<std::string>());
  HYPENET_CHECK(!last.contains("tool_calls") || last["tool_calls"].empty(),
                "chat: continue_final_message: expected a last message without tool calls, found "
                "some");
  options.continue_final_message = options.add_generation_prompt = false;
  std::vector<JinjaPiece> pieces = render_pieces(messages, options);
  while (!pieces.empty() && pieces.back().message != std::ssize(messages) - 1) pieces.pop_back();
  if (!pieces.empty()) return pieces;
  Json before = messages;
  before.erase(before.size() - 1);
  options.add_generation_prompt = true;
  return render_pieces(before, options);
}

std::string_view ChatTemplate::family_name() const {
  if (is_plain_) return "none";
  if (end_of_turn_ == "<|im_end|>") return "ChatML";
  return end_of_turn_ == "<|eot_id|>" ? "Llama 3" : "its own";
}

}  // namespace hypenet
