// Tool calls in a model's answer: in which form a template asks for them, and how one is read while
// its text comes.
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
  kLlama3Json  // the whole answer, or all behind <|python_tag|>: {"name", "parameters"}; ...
};

/// "none", "hermes", "llama3-json".
std::string_view to_string(ToolFormat format);

/// The inverse. Throws Error naming the choices.
ToolFormat tool_format(std::string_view name);

/// By what the template prints for an assistant's call; kNone where it is no known form.
ToolFormat tool_format_of(const ChatTemplate& chat);

/// Reads one call byte by byte: a JSON object with "name", a text, and "arguments" or "parameters",
/// an object, where "type" and "id" may stand too.
class CallReader {
 public:
  enum class State {
    kOpen,   // needs more bytes
    kWhole,  // the last byte closed the object, and it is a call
    kBroken  // it is no call, whatever follows
  };

  /// Takes the next byte; only while kOpen. White space before the object is passed over.
  State push(char byte);

  State state() const { return state_; }

  /// Whether name and the beginning of the arguments are known.
  bool has_begun() const { return name_.has_value() && arguments_begin_ > 0; }

  const std::string& name() const { return *name_; }

  /// The arguments as they stand in the text, as far as they came.
  std::string_view arguments() const;

 private:
  void take_structure(char byte);
  void end_string();
  State check_whole() const;

  State state_ = State::kOpen;
  std::string text_;
  int64_t depth_ = 0;
  bool in_string_ = false, is_escaped_ = false, expects_key_ = false;
  size_t string_begin_ = 0;
  std::string key_;  // of the value at hand, at depth 1
  std::optional<std::string> name_;
  size_t arguments_begin_ = 0, arguments_end_ = 0;  // in text_; 0: not yet
};

}  // namespace hypenet
