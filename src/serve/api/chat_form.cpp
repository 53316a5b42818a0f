// The rows of a chat request, and what of them depends on each other.
#include "serve/api/chat_form.h"

#include <array>

#include "serve/api/chat_messages.h"

namespace hypenet {
namespace {

using Row = Parameter<ChatRequest>;

constexpr int64_t kMostAlternatives = 20;

void read_logprobs(const Field& field, ChatRequest& request, const ParseContext&) {
  int64_t& told = request.settings.top_logprobs;
  if (read_boolean(field)) told = std::max<int64_t>(told, 0);
}

void read_top_logprobs(const Field& field, ChatRequest& request, const ParseContext&) {
  request.settings.top_logprobs = read_integer(field, {0, kMostAlternatives});
}

void read_effort(const Field& field, ChatRequest& request, const ParseContext&) {
  constexpr std::array<std::string_view, 5> kEfforts = {"none", "minimal", "low", "medium", "high"};
  const size_t effort = read_choice(field, kEfforts);
  request.enable_thinking = effort > 0;
  request.template_variables["reasoning_effort"] = kEfforts.at(effort);
}

/// Checked alone: they are set behind all else. What has a field of its own is none of them.
void check_template_variables(const Field& field, ChatRequest&, const ParseContext&) {
  constexpr int64_t kMostVariables = 256;
  if (std::ssize(read_object(field)) > kMostVariables) {
    fail_value(field, concat("an object of at most ", kMostVariables, " members"));
  }
  for (const char* name : {"messages", "tools", "add_generation_prompt"}) {
    if (const auto taken = field.find(name)) fail_unsupported(*taken, "setting it here is");
  }
}

void set_template_variables(const Field& field, ChatRequest& request) {
  request.template_variables.update(field.value);
  const auto thinking = request.template_variables.find("enable_thinking");
  if (thinking == request.template_variables.end() || !thinking->is_boolean()) return;
  request.enable_thinking = thinking->get<bool>();
  request.template_variables.erase(thinking);
}

/// A row that reads a boolean of the request.
Row boolean_row(const char* name, bool ChatRequest::*member, const char* fallback,
                const char* text) {
  return {name, "boolean", fallback, text,
          [member](const Field& field, ChatRequest& request, const auto&) {
            request.*member = read_boolean(field);
          }};
}

Parameters<ChatRequest> make_rows() {
  Parameters<ChatRequest> rows;
  rows.push_back({"messages", concat("array of 1 to ", kMostMessages, " messages"), "required",
                  "the conversation", read_messages});
  const char* const kLeft = "what the context has left";
  rows.push_back(max_tokens_row<ChatRequest>("max_completion_tokens", 1, kLeft,
                                             "of the answer; more is clipped to what is left"));
  rows.push_back(max_tokens_row<ChatRequest>("max_tokens", 1, kLeft,
                                             "the same; `max_completion_tokens` wins"));
  add_shared(rows);
  rows.push_back(
      {"logprobs", "boolean", "false", "tell each token's log-probability", read_logprobs});
  rows.push_back({"top_logprobs", concat("integer, 0 to ", kMostAlternatives), "0",
                  "and those of so many likeliest tokens; only with `logprobs`",
                  read_top_logprobs});
  rows.push_back({"tools", concat("array of up to ", kMostTools, " functions"), "none",
                  "what the model may call", read_tools});
  rows.push_back({"tool_choice",
                  "`none`, `auto`, `required` or {`type`: `function`, `function`: {`name`}}",
                  "`auto` with tools", "whether it calls, and what", read_tool_choice});
  rows.push_back(boolean_row("parallel_tool_calls", &ChatRequest::parallel_tool_calls, "true",
                             "several calls in one answer"));
  rows.push_back({"reasoning_effort", "`none`, `minimal`, `low`, `medium` or `high`",
                  "the template's",
                  "`none`: the model does not think; the word goes to the "
                  "template too",
                  read_effort});
  rows.push_back({"chat_template_kwargs", "object", "{}",
                  "variables of the template, like `enable_thinking` (extension)",
                  check_template_variables});
  rows.push_back(boolean_row("continue_final_message", &ChatRequest::continues_final_message,
                             "false",
                             "goes on within the last message, an assistant's (extension)"));
  return rows;
}

}  // namespace

const Parameters<ChatRequest>& chat_parameters() {
  static const Parameters<ChatRequest> rows = make_rows();
  return rows;
}

ChatRequest parse_chat_request(const Json& body, const ServedModel& model) {
  ChatRequest request{.settings = default_settings(model)};
  const Field top{body, ""};
  required(top, "messages");
  const ParseContext context{model, request.settings.ignored};
  read_parameters(body, chat_parameters(), request, context);
  if (const auto tokens = top.find("max_completion_tokens")) {
    request.settings.max_tokens = read_integer(*tokens);
  }
  if (const auto variables = top.find("chat_template_kwargs")) {
    set_template_variables(*variables, request);
  }
  const auto logprobs = top.find("logprobs"), alternatives = top.find("top_logprobs");
  if (alternatives && !(logprobs && logprobs->value.get<bool>())) {
    fail_value(*alternatives, "none without \"logprobs\": true");
  }
  check_tool_choice(request, top.find("tool_choice").has_value(), "tool_choice");
  check_final_message(request, "continue_final_message");
  check_settings_agree(request.settings, body);
  return request;
}

ChatOptions chat_options(const ChatRequest& request) {
  ChatOptions options{.add_generation_prompt = !request.continues_final_message,
                      .continue_final_message = request.continues_final_message,
                      .enable_thinking = request.enable_thinking};
  if (request.tool_choice.kind != ToolChoice::Kind::kNone) options.tools = request.tools;
  options.variables = request.template_variables;
  return options;
}

}  // namespace hypenet
