// A call's object is followed by its brackets and strings; once it is closed, all of it is parsed.
#include "serve/text/json_call.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/json.h"
#include "base/json_text.h"

namespace hypenet {
namespace {

constexpr std::array<std::string_view, 5> kKeys = {"arguments", "id", "name", "parameters", "type"};

bool is_space(char byte) { return byte == ' ' || byte == '\n' || byte == '\t' || byte == '\r'; }

bool is_arguments(std::string_view key) { return key == "arguments" || key == "parameters"; }

/// Deeper nesting is no call.
constexpr int64_t kMostDepth = 256;

}  // namespace

std::string_view JsonCallReader::arguments() const {
  const size_t end = arguments_end_ > 0 ? arguments_end_ : text_.size();
  return std::string_view(text_).substr(arguments_begin_, end - arguments_begin_);
}

JsonCallReader::State JsonCallReader::push(char byte) {
  if (text_.empty() && is_space(byte)) return state_;
  if (text_.empty() && byte != '{') return state_ = State::kBroken;
  text_ += byte;
  if (in_string_) {
    if (!is_escaped_ && byte == '"') end_string();
    is_escaped_ = !is_escaped_ && byte == '\\';
  } else {
    take_structure(byte);
  }
  return state_;
}

void JsonCallReader::take_structure(char byte) {
  switch (byte) {
    case '"':
      in_string_ = true;
      string_begin_ = text_.size() - 1;
      break;
    case '{':
    case '[':
      if (depth_ == 1 && is_arguments(key_) && !expects_key_) {
        if (byte == '[' || arguments_begin_ > 0) {
          state_ = State::kBroken;
        } else {
          arguments_begin_ = text_.size() - 1;
        }
      }
      if (depth_ == 0) expects_key_ = true;
      if (++depth_ > kMostDepth) state_ = State::kBroken;
      break;
    case '}':
    case ']':
      --depth_;
      if (depth_ == 1 && arguments_begin_ > 0 && arguments_end_ == 0) arguments_end_ = text_.size();
      if (depth_ == 0) state_ = check_whole();
      break;
    case ',':
      if (depth_ == 1) expects_key_ = true;
      break;
    default:
      break;
  }
}

void JsonCallReader::end_string() {
  in_string_ = false;
  if (depth_ != 1) return;
  const std::string_view quoted = std::string_view(text_).substr(string_begin_);
  const std::optional<Json> json = try_parse_json(quoted);
  if (!json) {
    state_ = State::kBroken;
    return;
  }
  std::string value = json->get<std::string>();
  if (std::exchange(expects_key_, false)) {
    key_ = std::move(value);
    if (std::ranges::count(kKeys, key_) == 0) state_ = State::kBroken;
  } else if (key_ == "name" && !name_) {
    name_ = std::move(value);
  }
}

JsonCallReader::State JsonCallReader::check_whole() const {
  if (!has_begun() || name_->empty()) return State::kBroken;
  const std::optional<Json> call = try_parse_json(text_);
  const bool is_one = call && call->contains("arguments") != call->contains("parameters");
  return is_one && call->at("name") == *name_ ? State::kWhole : State::kBroken;
}

}  // namespace hypenet
