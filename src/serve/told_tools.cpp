// What Qwen's and Llama 3's own templates write of tools.
#include "serve/told_tools.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include "text/jinja/template.h"

namespace hypenet {
namespace {

constexpr std::string_view kHermesCalls =
    "{%- for call in calls %}{{ '\\n' if content or not loop.first }}"
    "{{- '<tool_call>\\n{\"name\": ' }}{{ call.name | tojson }}{{ ', \"arguments\": ' }}"
    "{%- if call.arguments is string %}{{ call.arguments }}"
    "{%- else %}{{ call.arguments | tojson }}{% endif %}"
    "{{- '}\\n</tool_call>' }}{% endfor %}";

constexpr std::string_view kLlamaCalls =
    "{{- '<|python_tag|>' if content }}"
    "{%- for call in calls %}{{ '; ' if not loop.first }}"
    "{{- '{\"name\": ' }}{{ call.name | tojson }}{{ ', \"parameters\": ' }}"
    "{%- if call.arguments is string %}{{ call.arguments }}"
    "{%- else %}{{ call.arguments | tojson }}{% endif %}{{ '}' }}{% endfor %}";

constexpr std::string_view kTaggedCalls =
    "{%- for call in calls %}{{ '\\n' if content or not loop.first }}"
    "{{- '<tool_call>\\n<function=' + call.name + '>\\n' }}"
    "{%- if call.arguments is string %}{{ call.arguments + '\\n' }}"
    "{%- else %}{% for key, value in call.arguments.items() %}"
    "{{- '<parameter=' + key + '>\\n' }}"
    "{%- if value is string %}{{ value }}{% else %}{{ value | tojson }}{% endif %}"
    "{{- '\\n</parameter>\\n' }}{% endfor %}{% endif %}"
    "{{- '</function>\\n</tool_call>' }}{% endfor %}";

const JinjaTemplate& calls_template(ToolFormat format) {
  static const JinjaTemplate hermes = JinjaTemplate::parse(kHermesCalls, "calls of hermes");
  static const JinjaTemplate llama = JinjaTemplate::parse(kLlamaCalls, "calls of llama3-json");
  static const JinjaTemplate tagged = JinjaTemplate::parse(kTaggedCalls, "calls of qwen3-coder");
  if (format == ToolFormat::kQwen3Coder) return tagged;
  return format == ToolFormat::kHermes ? hermes : llama;
}

std::string content_of(const Json& message) { return message.value("content", ""); }

int64_t content_size(const Json& message) { return std::ssize(content_of(message)); }

Json with_text(const Json& message, ToolFormat format) {
  Json told = message;
  told.erase("tool_calls");
  JinjaVariables variables;
  variables.given["content"] = content_of(message);
  variables.given["calls"] = Json::array();
  for (const Json& call : message["tool_calls"]) {
    variables.given["calls"].push_back(call.at("function"));
  }
  told["content"] = content_of(message) + join_pieces(calls_template(format).render(variables));
  return told;
}

/// Puts messages one after the other, with their marks.
class Telling {
 public:
  Telling(const ChatRequest& chat, ToolFormat format, bool is_llama)
      : chat_(chat), format_(format), is_llama_(is_llama), told_(chat) {
    told_.messages = Json::array();
    told_.marks.clear();
  }

  ChatRequest tell() {
    for (; index_ < std::ssize(chat_.messages); ++index_) {
      const Json& message = chat_.messages[static_cast<size_t>(index_)];
      const bool is_result = message["role"] == "tool";
      if (is_result) {
        tell_result(message);
      } else {
        tell_other(message);
      }
      follows_result_ = is_result;
    }
    return std::move(told_);
  }

 private:
  void tell_other(const Json& message) {
    told_.messages.push_back(message.contains("tool_calls") ? with_text(message, format_)
                                                            : message);
    move_marks(0, content_size(message));
  }

  void tell_result(const Json& message) {
    std::string before = is_llama_ ? "" : "<tool_response>\n";
    if (follows_result_) {
      before.insert(0, content_of(told_.messages.back()) + "\n");
    } else {
      told_.messages.push_back({{"role", is_llama_ ? "ipython" : "user"}});
    }
    told_.messages.back()["content"] =
        before + content_of(message) + (is_llama_ ? "" : "\n</tool_response>");
    move_marks(std::ssize(before), content_size(message));
  }

  /// Those of the message at hand, whose content of `size` bytes stands at `begin` of the last.
  void move_marks(int64_t begin, int64_t size) {
    const int64_t end = content_size(told_.messages.back());
    for (const CacheMark& mark : chat_.marks) {
      if (mark.message != index_) continue;
      told_.marks.push_back({.message = std::ssize(told_.messages) - 1,
                             .end = mark.end < size ? begin + mark.end : end});
    }
  }

  const ChatRequest& chat_;
  ToolFormat format_;
  bool is_llama_;
  ChatRequest told_;
  int64_t index_ = 0;
  bool follows_result_ = false;
};

std::string tools_text(const Json& tools) {
  std::string text =
      "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
      "You are provided with function signatures within <tools></tools> XML tags:\n<tools>";
  for (const Json& tool : tools) text.append("\n").append(tool.dump());
  text +=
      "\n</tools>\n\nFor each function call, return a json object with function name and arguments "
      "within <tool_call></tool_call> XML tags:\n<tool_call>\n"
      "{\"name\": <function-name>, \"arguments\": <args-json-object>}\n</tool_call>";
  return text;
}

}  // namespace

bool has_calls(const ChatRequest& chat) {
  return std::ranges::any_of(chat.messages, [](const Json& message) {
    return message["role"] == "tool" || message.contains("tool_calls");
  });
}

ChatRequest with_calls_as_text(const ChatRequest& chat, ToolFormat format,
                               const ChatTemplate& chat_template) {
  const bool is_llama =
      format == ToolFormat::kLlama3Json && chat_template.family_name() == "Llama 3";
  return Telling(chat, format, is_llama).tell();
}

ChatRequest with_tools_in_system(const ChatRequest& chat) {
  ChatRequest told = chat;
  const std::string text = tools_text(chat.tools);
  if (!told.messages.empty() && told.messages[0].value("role", "") == "system") {
    const int64_t size = content_size(told.messages[0]);
    const std::string whole = content_of(told.messages[0]) + "\n\n" + text;
    told.messages[0]["content"] = whole;
    for (CacheMark& mark : told.marks) {
      if (mark.message == 0 && mark.end >= size) mark.end = std::ssize(whole);
    }
    return told;
  }
  told.messages.insert(told.messages.begin(), Json{{"role", "system"}, {"content", text}});
  for (CacheMark& mark : told.marks) ++mark.message;
  return told;
}

}  // namespace hypenet
