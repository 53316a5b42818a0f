// The names of the forms, and how a template is asked for its own.
#include "serve/text/tool_calls.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/error.h"
#include "serve/text/json_call.h"
#include "serve/text/xml_call.h"

namespace hypenet {
namespace {

constexpr std::array<std::pair<ToolFormat, std::string_view>, 4> kFormats = {
    {{ToolFormat::kNone, "none"},
     {ToolFormat::kHermes, "hermes"},
     {ToolFormat::kLlama3Json, "llama3-json"},
     {ToolFormat::kQwen3Coder, "qwen3-coder"}}};

bool is_blank(char byte) { return byte == ' ' || byte == '\n' || byte == '\t' || byte == '\r'; }

}  // namespace

std::string_view to_string(ToolFormat format) {
  return std::ranges::find(kFormats, format, &std::pair<ToolFormat, std::string_view>::first)
      ->second;
}

ToolFormat tool_format(std::string_view name) {
  for (const auto& [format, known] : kFormats) {
    if (known == name) return format;
  }
  throw Error(concat("tool format: expected none, hermes, llama3-json or qwen3-coder, found \"",
                     name, "\""));
}

ToolFormat tool_format_of(const ChatTemplate& chat) {
  constexpr const char* kCalled = "hypenet_tool";
  const Json call = {{"name", kCalled}, {"arguments", {{"key", "value"}}}};
  const Json messages = Json::array(
      {{{"role", "user"}, {"content", "Ask."}},
       {{"role", "assistant"},
        {"content", ""},
        {"tool_calls",
         Json::array({{{"id", "call000000"}, {"type", "function"}, {"function", call}}})}}});
  std::string text;
  try {
    text = join_pieces(
        chat.render_pieces(messages, {.add_generation_prompt = false, .date = "26 Jul 2024"}));
  } catch (const Error&) {
    return ToolFormat::kNone;
  }
  std::erase_if(text, is_blank);
  const auto prints = [&](const std::string& part) { return text.find(part) != text.npos; };
  const std::string begin = concat("{\"name\":\"", kCalled, "\",");
  if (prints(concat("<tool_call>", begin, "\"arguments\":{"))) return ToolFormat::kHermes;
  if (prints(concat("<tool_call><function=", kCalled, "><parameter=key>value</parameter>"))) {
    return ToolFormat::kQwen3Coder;
  }
  return prints(concat(begin, "\"parameters\":{")) ? ToolFormat::kLlama3Json : ToolFormat::kNone;
}

bool has_call_markers(ToolFormat format) {
  return format == ToolFormat::kHermes || format == ToolFormat::kQwen3Coder;
}

std::string_view call_beginning(ToolFormat format) {
  return format == ToolFormat::kQwen3Coder ? XmlCallReader::kOpening : "{";
}

std::unique_ptr<CallReader> call_reader(ToolFormat format, const ToolList& tools) {
  if (format == ToolFormat::kQwen3Coder) return std::make_unique<XmlCallReader>(tools);
  return std::make_unique<JsonCallReader>();
}

}  // namespace hypenet
