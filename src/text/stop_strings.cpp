// What is held back is always a proper beginning of a stop string.
#include "text/stop_strings.h"

#include <algorithm>
#include <string_view>
#include <utility>

namespace hypenet {
namespace {

/// The bytes at the end of the text that begin a stop string.
size_t begun_size(std::string_view text, const std::vector<std::string>& stops) {
  size_t longest = 0;
  for (const std::string& stop : stops) {
    for (size_t size = std::min(text.size(), stop.size() - 1); size > longest; --size) {
      if (text.ends_with(std::string_view(stop).substr(0, size))) longest = size;
    }
  }
  return longest;
}

}  // namespace

StopStrings::StopStrings(const Tokenizer& tokenizer, std::vector<std::string> stops,
                         bool skip_special_tokens)
    : decoder_(tokenizer, skip_special_tokens), stops_(std::move(stops)) {
  std::erase(stops_, "");
}

std::string StopStrings::take(const std::string& text) {
  if (has_stopped_) return {};
  held_ += text;
  std::pair first(std::string::npos, std::string::npos);  // end and begin
  for (const std::string& stop : stops_) {
    const size_t begin = held_.find(stop);
    if (begin != std::string::npos) first = std::min(first, {begin + stop.size(), begin});
  }
  has_stopped_ = first.first != std::string::npos;
  const size_t held = has_stopped_ ? 0 : begun_size(held_, stops_);
  std::string certain = held_.substr(0, has_stopped_ ? first.second : held_.size() - held);
  held_.erase(0, held_.size() - held);
  return certain;
}

std::string StopStrings::push(int32_t id) { return take(decoder_.push(id)); }

std::string StopStrings::finish() {
  std::string rest = take(decoder_.finish());
  return rest + std::exchange(held_, {});
}

}  // namespace hypenet
