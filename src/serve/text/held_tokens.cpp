// Tokens are told whole, so that a delta's text is that of its tokens.
#include "serve/text/held_tokens.h"

#include <algorithm>
#include <utility>

#include "text/unicode.h"

namespace hypenet {

AnswerDelta& add_text(std::vector<AnswerDelta>& deltas, AnswerDelta::Kind kind,
                      std::string_view bytes) {
  if (deltas.empty() || deltas.back().kind != kind) deltas.push_back({.kind = kind});
  AnswerDelta& delta = deltas.back();
  if (is_utf8(bytes)) {
    delta.text += bytes;
  } else {
    delta.text += replace_invalid_utf8(bytes);
  }
  return delta;
}

void HeldTokens::push(Event event, std::string_view bytes) {
  bytes_ += bytes;
  tokens_.push_back({std::move(event), end()});
}

bool HeldTokens::may_begin(size_t at, size_t end, std::string_view text) const {
  const size_t size = std::min(end - at, text.size());
  return std::string_view(bytes_).substr(at - begin_, size) == text.substr(0, size);
}

/// The end of the last token that ends by `end` and leaves no piece of a character.
size_t HeldTokens::whole_end(size_t end) const {
  size_t last = begin_;
  for (const Token& token : tokens_) {
    if (token.end > end) break;
    const std::string_view told = std::string_view(bytes_).substr(0, token.end - begin_);
    if (complete_utf8_size(told) == told.size()) last = token.end;
  }
  return last;
}

void HeldTokens::tell(size_t end, bool cuts, std::vector<AnswerDelta>& deltas) {
  if (!cuts) end = whole_end(end);
  if (end <= begin_) return;
  AnswerDelta& delta = add_text(deltas, AnswerDelta::Kind::kContent,
                                std::string_view(bytes_).substr(0, end - begin_));
  size_t at = begin_;
  for (auto token = tokens_.begin(); at < end; ++token) {
    const size_t to = std::min(token->end, end);
    delta.tokens.push_back({std::move(token->event), bytes_.substr(at - begin_, to - at)});
    at = to;
  }
  drop(end);
}

void HeldTokens::drop(size_t end) {
  if (end <= begin_) return;
  while (!tokens_.empty() && tokens_.front().end <= end) tokens_.pop_front();
  bytes_.erase(0, end - begin_);
  begin_ = end;
}

void HeldTokens::truncate(size_t end) {
  bytes_.resize(end - begin_);
  while (!tokens_.empty() && tokens_.back().end > end) {
    const bool is_cut = tokens_.size() == 1 ? begin_ < end : tokens_[tokens_.size() - 2].end < end;
    if (is_cut) {
      tokens_.back().end = end;
    } else {
      tokens_.pop_back();
    }
  }
}

}  // namespace hypenet
