// The rows of an Anthropic request, and what of them depends on each other.
#include "serve/api/anthropic_form.h"

#include <array>

#include "serve/api/anthropic_messages.h"
#include "serve/api/chat_messages.h"

namespace hypenet {
namespace {

using Kind = ToolChoice::Kind;

void read_tool_list(const Field& field, ChatRequest& request, const ParseContext& context) {
  const size_t count = read_array(field, {0, kMostTools}).size();
  Json tools = Json::array();
  for (size_t i = 0; i < count; ++i) {
    const Field tool = field.item(i);
    read_object(tool);
    const auto type = tool.find("type");
    if (type && read_string(*type) != "custom") {
      fail_unsupported(*type, concat("tools of type \"", type->value.get<std::string>(), "\" are"));
    }
    Json function = {{"name", read_name(required(tool, "name"))}};
    if (const auto text = tool.find("description")) function["description"] = read_string(*text);
    function["parameters"] = read_object(required(tool, "input_schema"));
    has_cache_mark(tool);  // tools stand before the end of the system message, which is a cut
    context.ignored.add_others(tool,
                               {"type", "name", "description", "input_schema", "cache_control"});
    tools.push_back({{"type", "function"}, {"function", std::move(function)}});
  }
  if (!tools.empty()) request.tools = std::move(tools);
}

void read_choice_of_tools(const Field& field, ChatRequest& request, const ParseContext& context) {
  constexpr std::array<std::string_view, 4> kTypes = {"none", "auto", "any", "tool"};
  read_object(field);
  ToolChoice& choice = request.tool_choice;
  choice.kind = static_cast<Kind>(read_choice(required(field, "type"), kTypes));
  if (choice.kind == Kind::kNamed) choice.name = read_name(required(field, "name"));
  if (const auto alone = field.find("disable_parallel_tool_use")) {
    request.parallel_tool_calls = !read_boolean(*alone);
  }
  context.ignored.add_others(field, {"type", "name", "disable_parallel_tool_use"});
}

void read_thinking(const Field& field, ChatRequest& request, const ParseContext& context) {
  constexpr std::array<std::string_view, 4> kTypes = {"disabled", "enabled", "adaptive",
                                                      "between_tools"};
  read_object(field);
  const size_t type = read_choice(required(field, "type"), kTypes);
  request.enable_thinking = type > 0;
  if (const auto budget = field.find("budget_tokens")) read_integer(*budget, {.least = 1});
  context.ignored.add_others(field, {"type"});
}

void read_output_config(const Field& field, ChatRequest& request, const ParseContext& context) {
  constexpr std::array<std::string_view, 1> kTypes = {"json_schema"};
  read_object(field);
  if (const auto format = field.find("format")) {
    read_object(*format);
    read_choice(required(*format, "type"), kTypes);
    request.settings.response_format = {.kind = ResponseFormat::Kind::kJsonSchema,
                                        .schema = read_object(required(*format, "schema"))};
    context.ignored.add_others(*format, {"type", "schema"});
  }
  context.ignored.add_others(field, {"format"});
}

void read_stop_sequences(const Field& field, ChatRequest& request, const ParseContext&) {
  constexpr int64_t kMostStops = 16, kLongestStop = 256;
  const size_t count = read_array(field, {0, kMostStops}).size();
  for (size_t i = 0; i < count; ++i) {
    request.settings.stops.push_back(read_string(field.item(i), {1, kLongestStop}));
  }
}

Parameters<ChatRequest> make_rows() {
  constexpr std::array<std::string_view, 11> kShared = {
      "model",    "top_p",        "top_k", "min_p",      "seed",   "stream",
      "metadata", "service_tier", "reuse", "cache_salt", "timeout"};
  Parameters<ChatRequest> rows;
  rows.push_back({"messages", concat("array of 1 to ", kMostMessages, " messages"), "required",
                  "the conversation; a last message of the assistant is gone on with",
                  read_anthropic_messages});
  rows.push_back(max_tokens_row<ChatRequest>("max_tokens", 1, "required",
                                             "of the answer; more is clipped to what is left"));
  rows.push_back({"system", "string or array of text blocks", "none",
                  "the system message; blocks that begin `x-anthropic-billing-header:` are left "
                  "out",
                  [](const auto&...) {}});
  rows.push_back({"stop_sequences", "array of up to 16 strings of 1 to 256 bytes", "none",
                  "the answer ends before any of these texts", read_stop_sequences});
  rows.push_back({"temperature", "number, 0 to 1", "`generation_config.json`, else 1",
                  "0: always the likeliest token",
                  [](const Field& field, ChatRequest& request, const auto&) {
                    request.settings.sampling.temperature = read_temperature(field, 1);
                  }});
  rows.push_back({"tools", concat("array of up to ", kMostTools, " tools"), "none",
                  "what the model may call: `name`, `description`, `input_schema`",
                  read_tool_list});
  rows.push_back({"tool_choice",
                  "object: `type` `auto`, `any`, `tool` (with `name`) or `none`, "
                  "`disable_parallel_tool_use`",
                  "`auto` with tools", "whether it calls, and what", read_choice_of_tools});
  rows.push_back({"output_config", "object: `format` {`type`: `json_schema`, `schema`}", "none",
                  "what the answer's text must be; `effort` is ignored", read_output_config});
  rows.push_back({"thinking", "object: `type` `enabled`, `adaptive`, `between_tools` or `disabled`",
                  "the template's", "whether the model thinks; `budget_tokens` is ignored",
                  read_thinking});
  rows.push_back({"cache_control", "{`type`: `ephemeral`}", "none",
                  "as on the last block of the last message", [](const auto&...) {}});
  add_shared(rows, kShared);
  return rows;
}

}  // namespace

const Parameters<ChatRequest>& anthropic_parameters() {
  static const Parameters<ChatRequest> rows = make_rows();
  return rows;
}

ChatRequest parse_anthropic_request(const Json& body, const ServedModel& model,
                                    bool needs_max_tokens) {
  ChatRequest request{.settings = default_settings(model)};
  const Field top{body, ""};
  const ParseContext context{model, request.settings.ignored};
  required(top, "messages");
  if (needs_max_tokens) required(top, "max_tokens");
  // It is the first message, wherever in the body it stands.
  if (const auto system = top.find("system")) read_anthropic_system(*system, request, context);
  read_parameters(body, anthropic_parameters(), request, context);
  if (has_cache_mark(top)) {
    const Json& content = request.messages.back()["content"];
    add_mark(request,
             {std::ssize(request.messages) - 1, std::ssize(content.get_ref<const std::string&>())});
  }
  check_tool_choice(request, top.find("tool_choice").has_value(), "tool_choice");
  request.continues_final_message = request.messages.back()["role"] == "assistant";
  check_final_message(request, "messages");
  return request;
}

}  // namespace hypenet
