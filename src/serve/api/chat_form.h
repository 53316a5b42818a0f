// The request of /v1/chat/completions, which Anthropic's messages are translated to as well.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "serve/api/generation_settings.h"
#include "text/chat_template.h"

namespace hypenet {

/// The end of what a client wants kept: a byte of a message's `content`.
struct CacheMark {
  int64_t message = 0;
  int64_t end = 0;  // bytes of the content before it
};

struct ToolChoice {
  enum class Kind { kNone, kAuto, kRequired, kNamed } kind = Kind::kNone;
  std::string name = {};  // kNamed: of the function
};

struct ChatRequest {
  GenerationSettings settings;
  /// Objects as templates read them: role (system, user, assistant, tool), content (a text, its
  /// parts joined), and where given name, tool_call_id, reasoning_content, tool_calls (arguments as
  /// objects where they are JSON objects).
  Json messages = Json::array();
  std::vector<CacheMark> marks = {};
  Json tools = nullptr;  // an array in OpenAI's form, or null
  ToolChoice tool_choice = {};
  bool parallel_tool_calls = true;
  std::optional<bool> enable_thinking = {};
  Json template_variables = Json::object();
  bool continues_final_message = false;
  int64_t left_out_blocks = 0;  // Anthropic's billing headers, which change with every request
};

/// Throws ApiError as section 4 of the protocol has it (docs/serving-api.md).
ChatRequest parse_chat_request(const Json& body, const ServedModel& model);

/// What the template is given: no tools where tool_choice is "none".
ChatOptions chat_options(const ChatRequest& request);

/// The rows of the page.
const Parameters<ChatRequest>& chat_parameters();

}  // namespace hypenet
