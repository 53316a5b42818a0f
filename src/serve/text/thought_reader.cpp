// Newlines are held until something follows them.
#include "serve/text/thought_reader.h"

#include <algorithm>

#include "text/unicode.h"

namespace hypenet {

size_t ThoughtReader::push(std::string_view bytes, std::vector<AnswerDelta>& deltas) {
  size_t taken = 0;
  while (taken < bytes.size() && !is_closed_) {
    const char byte = bytes[taken++];
    const size_t found = closing_.push(byte);
    const bool leads = byte == '\n' && is_empty();
    if (!leads) held_ += byte;
    if (found == 0) continue;
    is_closed_ = true;
    held_.resize(held_.size() - found);
  }
  if (!is_closed_) tell(held_.size() - closing_.begun(), deltas);
  return taken;
}

void ThoughtReader::finish(std::vector<AnswerDelta>& deltas) {
  held_.resize(std::min(held_.find_last_not_of('\n') + 1, held_.size()));
  if (held_.empty()) return;
  add_text(deltas, AnswerDelta::Kind::kReasoning, held_);
  held_.clear();
  has_begun_ = true;
}

/// Of so many bytes what ends with a whole character that is no newline.
void ThoughtReader::tell(size_t size, std::vector<AnswerDelta>& deltas) {
  const std::string_view certain = std::string_view(held_).substr(0, size);
  size = complete_utf8_size(certain);
  size = certain.substr(0, size).find_last_not_of('\n') + 1;
  if (size == 0) return;
  add_text(deltas, AnswerDelta::Kind::kReasoning, certain.substr(0, size));
  held_.erase(0, size);
  has_begun_ = true;
}

}  // namespace hypenet
