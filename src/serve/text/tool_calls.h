// Tool calls in a model's answer: in which form a template asks for them, and how one is read while
// its text comes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/json.h"
#include "text/chat_template.h"

namespace hypenet {

enum class ToolFormat {
  kNone,
  kHermes,      // any number of <tool_call>{"name": ..., "arguments": {...}}</tool_call>
  kLlama3Json,  // the whole answer, or all behind <|python_tag|>: {"name", "parameters"}; ...
  kQwen3Coder   // as kHermes, of <function=NAME><parameter=KEY>VALUE</parameter>...</function>
};

/// "none", "hermes", "llama3-json", "qwen3-coder".
std::string_view to_string(ToolFormat format);

/// The inverse. Throws Error naming the choices.
ToolFormat tool_format(std::string_view name);

/// By what the template prints for an assistant's call; kNone where it is no known form.
ToolFormat tool_format_of(const ChatTemplate& chat);

/// Whether calls stand between <tool_call> and </tool_call>.
bool has_call_markers(ToolFormat format);

/// What a call begins with, behind its marker and white space; not for kNone.
std::string_view call_beginning(ToolFormat format);

/// Reads one call byte by byte.
class CallReader {
 public:
  enum class State {
    kOpen,   // needs more bytes
    kWhole,  // the last byte ended it, and it is a call
    kBroken  // it is no call, whatever follows
  };

  virtual ~CallReader() = default;

  /// Takes the next byte; only while kOpen. White space before the call is passed over.
  virtual State push(char byte) = 0;

  virtual State state() const = 0;

  /// Whether name and the beginning of the arguments are known.
  virtual bool has_begun() const = 0;

  virtual const std::string& name() const = 0;

  /// The arguments as JSON, as far as they are certain: what comes later only adds to them.
  virtual std::string_view arguments() const = 0;
};

/// Functions that may be called: an array in OpenAI's form, or null.
using ToolList = std::shared_ptr<const Json>;

/// A reader of this form, which is not kNone. `tools` give kQwen3Coder's values their types.
std::unique_ptr<CallReader> call_reader(ToolFormat format, const ToolList& tools);

}  // namespace hypenet
