// What is held back is always a proper beginning of a stop string.
#include "text/stop_strings.h"

#include <utility>

namespace hypenet {

StopStrings::StopStrings(const Tokenizer& tokenizer, std::vector<std::string> stops,
                         bool skip_special_tokens)
    : decoder_(tokenizer, skip_special_tokens), finder_(std::move(stops)) {}

std::string StopStrings::take(const std::string& text) {
  if (has_stopped_) return {};
  for (const char byte : text) {
    held_ += byte;
    const size_t found = finder_.push(byte);
    has_stopped_ = found > 0;
    if (has_stopped_) {
      held_.resize(held_.size() - found);
      return std::exchange(held_, {});
    }
  }
  const size_t certain = held_.size() - finder_.begun();
  std::string result = held_.substr(0, certain);
  held_.erase(0, certain);
  return result;
}

std::string StopStrings::push(int32_t id) { return take(decoder_.push(id)); }

std::string StopStrings::finish() {
  std::string rest = take(decoder_.finish());
  return rest + std::exchange(held_, {});
}

}  // namespace hypenet
