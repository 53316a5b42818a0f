// A tool call written as JSON, as Qwen's models up to 3 and Llama 3's write it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "serve/text/tool_calls.h"

namespace hypenet {

/// Reads a JSON object with "name", a text, and "arguments" or "parameters", an object, where
/// "type" and "id" may stand too. White space before the object is passed over.
class JsonCallReader final : public CallReader {
 public:
  State push(char byte) override;
  State state() const override { return state_; }
  bool has_begun() const override { return name_.has_value() && arguments_begin_ > 0; }
  const std::string& name() const override { return *name_; }
  std::string_view arguments() const override;

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
