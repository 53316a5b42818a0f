// A tool call written as tags, as Qwen3-Coder's and Qwen3.5's templates ask for it:
// <function=NAME>\n<parameter=KEY>\nVALUE\n</parameter>\n...</function>
#pragma once

#include <cstddef>
#include <set>
#include <string>
#include <string_view>

#include "serve/text/tool_calls.h"

namespace hypenet {

/// Values become JSON by the types that the function's schema gives them (parameter_types.h). A
/// value ends at a </parameter> behind which a further parameter or the function's end stands, so
/// it may hold one itself; a line break at each of its ends is not of it. Of a parameter that comes
/// twice the first value stands, as the text of a call that is told early cannot be taken back; a
/// grammar of calls whose parameters are not listed cannot keep one from it. White space between
/// tags is passed over.
class XmlCallReader final : public CallReader {
 public:
  static constexpr std::string_view kOpening = "<function=";

  explicit XmlCallReader(ToolList tools) : tools_(std::move(tools)) {}

  State push(char byte) override;
  State state() const override { return state_; }
  bool has_begun() const override { return !arguments_.empty(); }
  const std::string& name() const override { return name_; }
  std::string_view arguments() const override { return arguments_; }

 private:
  enum class Phase { kBeforeFunction, kName, kBetween, kKey, kValue };

  void take_tag(char byte);
  void read_tag();
  void take_word(char byte);
  void begin_value();
  void take_value(char byte);
  void end_value();
  void tell(std::string_view json);
  void tell_text(size_t end);
  size_t certain_size() const;

  ToolList tools_;
  State state_ = State::kOpen;
  Phase phase_ = Phase::kBeforeFunction;
  std::string tag_, name_, key_;
  std::set<std::string> keys_;
  std::string arguments_;  // JSON, as far as it is certain
  // Of the value at hand:
  std::set<std::string> types_;
  bool is_text_ = false, is_empty_ = true, is_repeated_ = false;
  std::string value_;       // with what may end it
  size_t closing_ = kNone;  // where in value_ a </parameter> stands that may be the end
  size_t told_ = 0;         // of value_, in arguments_
  static constexpr size_t kNone = std::string::npos;
};

}  // namespace hypenet
