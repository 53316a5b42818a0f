// Bytes of a value are certain up to what may be its end.
#include "serve/text/xml_call.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "serve/grammar/parameter_types.h"
#include "text/unicode.h"

namespace hypenet {
namespace {

constexpr std::string_view kParameter = "<parameter=", kEndsFunction = "</function>";
/// With the line break before it, which is not of the value.
constexpr std::string_view kEndsValue = "\n</parameter>";
constexpr std::string_view kBareEnd = kEndsValue.substr(1);

bool is_white(char byte) { return byte == ' ' || byte == '\n' || byte == '\t' || byte == '\r'; }

/// Whether it begins a tag that may stand behind a parameter.
bool may_follow_value(std::string_view tag) {
  return kParameter.starts_with(tag) || kEndsFunction.starts_with(tag);
}

/// How many bytes at the end of a value may be the beginning of its end.
size_t begun_end(std::string_view value) {
  for (size_t size = std::min(value.size(), kEndsValue.size() - 1); size > 0; --size) {
    const std::string_view rest = value.substr(value.size() - size);
    if (kEndsValue.starts_with(rest) || kBareEnd.starts_with(rest)) return size;
  }
  return 0;
}

}  // namespace

CallReader::State XmlCallReader::push(char byte) {
  switch (phase_) {
    case Phase::kBeforeFunction:
    case Phase::kBetween:
      take_tag(byte);
      break;
    case Phase::kName:
    case Phase::kKey:
      take_word(byte);
      break;
    case Phase::kValue:
      take_value(byte);
      break;
  }
  return state_;
}

void XmlCallReader::take_tag(char byte) {
  if (tag_.empty() && is_white(byte)) return;
  tag_ += byte;
  if (phase_ == Phase::kBeforeFunction) {
    if (!kOpening.starts_with(tag_)) state_ = State::kBroken;
    if (tag_ == kOpening) phase_ = Phase::kName;
    return;
  }
  read_tag();
}

/// What stands between parameters, as far as it has come.
void XmlCallReader::read_tag() {
  if (tag_ == kEndsFunction) {
    arguments_ += '}';
    state_ = State::kWhole;
  } else if (tag_ == kParameter) {
    key_.clear();
    phase_ = Phase::kKey;
  } else if (!may_follow_value(tag_)) {
    state_ = State::kBroken;
  }
}

/// A byte of the function's name or of a parameter's.
void XmlCallReader::take_word(char byte) {
  const bool is_name = phase_ == Phase::kName;
  std::string& word = is_name ? name_ : key_;
  if (byte != '>') {
    word += byte;
    if (byte == '\n' || byte == '<') state_ = State::kBroken;
    return;
  }
  tag_.clear();
  if (word.empty() || !is_utf8(word)) {
    state_ = State::kBroken;
  } else if (is_name) {
    arguments_ = "{";
    phase_ = Phase::kBetween;
  } else {
    begin_value();
  }
}

void XmlCallReader::begin_value() {
  const bool is_first = keys_.empty();
  is_repeated_ = !keys_.insert(key_).second;
  tell(concat(is_first ? "\"" : ", \"", json_escaped(key_), "\": "));
  types_ = tools_ ? parameter_types(*tools_, name_, key_) : std::set<std::string>();
  is_text_ = is_text_alone(types_);
  if (is_text_) tell("\"");
  is_empty_ = true;
  value_.clear();
  closing_ = kNone;
  told_ = 0;
  phase_ = Phase::kValue;
}

void XmlCallReader::take_value(char byte) {
  if (std::exchange(is_empty_, false) && byte == '\n') return;
  value_ += byte;
  if (closing_ != kNone) {
    if (!tag_.empty() || !is_white(byte)) tag_ += byte;
    if (tag_ == kParameter || tag_ == kEndsFunction) return end_value();
    if (!may_follow_value(tag_)) {
      closing_ = kNone;
      tag_.clear();
    }
  } else if (value_.ends_with(kBareEnd)) {
    closing_ = value_.size() - kBareEnd.size();
  }
  if (is_text_) tell_text(certain_size());
}

/// How much of value_ is of the value, whatever comes.
size_t XmlCallReader::certain_size() const {
  if (closing_ == kNone) return value_.size() - begun_end(value_);
  const bool has_break = closing_ > 0 && value_[closing_ - 1] == '\n';
  return has_break ? closing_ - 1 : closing_;
}

/// Of a parameter that came before, nothing is told.
void XmlCallReader::tell(std::string_view json) {
  if (!is_repeated_) arguments_ += json;
}

void XmlCallReader::tell_text(size_t end) {
  tell(json_escaped(std::string_view(value_).substr(told_, end - told_)));
  told_ = end;
}

/// The tag behind it has come, too.
void XmlCallReader::end_value() {
  const size_t end = certain_size();
  if (is_text_) {
    tell_text(end);
    tell("\"");
  } else {
    tell(parameter_json(types_, std::string_view(value_).substr(0, end)));
  }
  phase_ = Phase::kBetween;
  read_tag();
}

}  // namespace hypenet
