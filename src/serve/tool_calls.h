// Tool calls in a model's answer: how a template asks for them, and how they are read back while
// their text comes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "text/chat_template.h"

namespace hypenet {

enum class ToolFormat {
  kNone,
  kHermes,     // any number of <tool_call>{"name": ..., "arguments": {...}}</tool_call>
  kLlama3Json  // the whole answer, or what is behind <|python_tag|>: {"name", "parameters"}; ...
};

/// "none", "hermes", "llama3-json".
std::string_view to_string(ToolFormat format);

/// Throws Error naming the choices.
ToolFormat tool_format(std::string_view name);

/// By what the template prints for an assistant's call; kNone where it prints no known form.
ToolFormat tool_format_of(const ChatTemplate& chat);

/// Reads one JSON object {"name": text, "arguments" (or "parameters"): object} byte by byte. Other
/// keys than these, "type" and "id" make it no call.
class CallReader {
 public:
  enum class State {
    kOpen,   // more bytes are needed
    kWhole,  // the last byte closed the object, and it has a name and arguments
    kBroken  // this is no call
  };

  State push(char byte);

  /// Known once the key of the arguments and `{` behind it came, and the name before.
  const std::optional<std::string>& name() const { return name_; }
  bool has_arguments() const { return arguments_begin_ != 0; }

  /// The arguments as they stand in the text, as far as they came.
  std::string_view arguments() const;

  /// All that was pushed.
  const std::string& text() const { return text_; }

 private:
  std::string text_;
  std::optional<std::string> name_;
  size_t arguments_begin_ = 0, arguments_end_ = 0;  // in text_
};

}  // namespace hypenet
