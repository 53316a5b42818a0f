// Bytes are certain up to what may be the beginning of a stop string; the modes read as far. White
// space beside calls is left out.
#include "serve/text/content_reader.h"

#include <algorithm>
#include <utility>

#include "text/unicode.h"

namespace hypenet {
namespace {

bool is_space(char byte) { return byte == ' ' || byte == '\n' || byte == '\t' || byte == '\r'; }

}  // namespace

ContentReader::ContentReader(ContentSetting setting)
    : setting_(std::move(setting)),
      waits_(setting_.tools == ToolFormat::kLlama3Json && !setting_.valid_calls),
      stops_(setting_.stops),
      openings_({setting_.opening}),
      may_be_object_(setting_.tools == ToolFormat::kLlama3Json) {}

bool ContentReader::push(Event event, std::string_view bytes, Marker marker,
                         std::vector<AnswerDelta>& deltas) {
  const size_t begin = held_.end();
  if (marker != Marker::kNone) places_.push_back({begin, begin + bytes.size(), marker});
  if (!bytes.empty()) held_.push(std::move(event), bytes);
  for (size_t i = 0; i < bytes.size(); ++i) {
    const size_t found = stops_.push(bytes[i]);
    if (found == 0) continue;
    held_.truncate(begin + i + 1 - found);
    std::erase_if(places_, [&](const Place& place) { return place.end > held_.end(); });
    finish(deltas);
    return true;
  }
  advance(held_.end() - stops_.begun(), deltas);
  return false;
}

void ContentReader::finish(std::vector<AnswerDelta>& deltas) {
  advance(held_.end(), deltas);
  while (mode_ != Mode::kText) {
    if (mode_ == Mode::kBehindCall && waits_) {
      tell_waiting(deltas);
    } else if (mode_ == Mode::kCall) {
      give_up_call(deltas);
    }
    if (mode_ == Mode::kBehindCall) mode_ = Mode::kText;
    advance(held_.end(), deltas);
  }
  take_plain(held_.end());
  // White space behind the last call is no content.
  if (calls_ == 0 || solid_ > told_) held_.tell(held_.end(), /*cuts=*/true, deltas);
}

void ContentReader::advance(size_t limit, std::vector<AnswerDelta>& deltas) {
  bool goes_on = true;
  while (goes_on) {
    switch (mode_) {
      case Mode::kText:
        goes_on = read_text(limit, deltas);
        break;
      case Mode::kCall:
        goes_on = read_call(limit, deltas);
        break;
      case Mode::kBehindCall:
        goes_on = read_behind(limit, deltas);
        break;
    }
  }
}

/// The marker that begins there, if any.
const ContentReader::Place* ContentReader::place_at(size_t at) {
  while (!places_.empty() && places_.front().begin < at) places_.pop_front();
  return places_.empty() || places_.front().begin != at ? nullptr : &places_.front();
}

/// Text up to there is no marker.
void ContentReader::take_plain(size_t end) {
  for (; plain_ < end; ++plain_) {
    if (!is_space(held_[plain_])) solid_ = plain_ + 1;
  }
}

bool ContentReader::read_text(size_t limit, std::vector<AnswerDelta>& deltas) {
  if (setting_.tools == ToolFormat::kNone) {
    held_.tell(limit, /*cuts=*/false, deltas);
    read_ = plain_ = solid_ = limit;
    return false;
  }
  while (true) {
    const Place* const place = place_at(read_);
    if (place != nullptr && place->marker == Marker::kOpensCall) {
      if (place->end > limit) break;
      const size_t end = place->end;
      places_.pop_front();
      open_call(read_, end);
      return true;
    }
    if (read_ >= limit) break;
    const char byte = held_[read_];
    if (may_be_object_ && byte == '{') {
      open_call(read_, read_);
      return true;
    }
    may_be_object_ = may_be_object_ && is_space(byte);
    ++read_;
    if (const size_t found = openings_.push(byte); found > 0) {
      open_call(read_ - found, read_);
      return true;
    }
    take_plain(read_ - openings_.begun());
  }
  held_.tell(solid_, /*cuts=*/false, deltas);
  return false;
}

/// What is before it belongs to calls.
void ContentReader::leave_out(size_t end) {
  held_.drop(end);
  plain_ = solid_ = told_ = end;
}

void ContentReader::open_call(size_t begin, size_t end) {
  if (waiting_.empty()) call_ = begin, inner_ = end;
  may_be_object_ = false;
  call_reader_ = call_reader(setting_.tools, setting_.tool_list);
  is_named_ = false;
  told_arguments_ = 0;
  go_on(Mode::kCall, end);
}

void ContentReader::go_on(Mode mode, size_t at) {
  mode_ = mode;
  read_ = at;
  openings_.reset();
}

bool ContentReader::read_call(size_t limit, std::vector<AnswerDelta>& deltas) {
  while (true) {
    if (place_at(read_) != nullptr) {
      give_up_call(deltas);
      return true;
    }
    if (read_ >= limit) break;
    const CallReader::State state = call_reader_->push(held_[read_++]);
    if (state == CallReader::State::kOpen) continue;
    if (state == CallReader::State::kWhole) {
      end_call(deltas);
    } else {
      give_up_call(deltas);
    }
    return true;
  }
  if (setting_.valid_calls && call_reader_->has_begun()) {
    if (!is_named_) tell_name(*call_reader_, deltas);
    tell_arguments(deltas, /*is_whole=*/false);
    held_.drop(read_);
  }
  return false;
}

/// The call's text is content, and may hold another call.
void ContentReader::give_up_call(std::vector<AnswerDelta>& deltas) {
  if (is_named_) {
    // It was told already: what comes now is content.
    tell_arguments(deltas, /*is_whole=*/false);
    leave_out(read_);
    return go_on(Mode::kText, read_);
  }
  waiting_.clear();
  plain_ = inner_;
  if (inner_ > call_) solid_ = inner_;
  go_on(Mode::kText, inner_);
}

void ContentReader::end_call(std::vector<AnswerDelta>& deltas) {
  if (waits_) {
    waiting_.push_back(std::move(call_reader_));
    return go_on(Mode::kBehindCall, read_);
  }
  if (!is_named_) tell_name(*call_reader_, deltas);
  tell_arguments(deltas, /*is_whole=*/true);
  leave_out(read_);
  go_on(Mode::kBehindCall, read_);
}

void ContentReader::tell_name(const CallReader& call, std::vector<AnswerDelta>& deltas) {
  held_.tell(solid_, /*cuts=*/true, deltas);
  held_.drop(call_);
  deltas.push_back(
      {.kind = AnswerDelta::Kind::kToolCall, .tool_index = calls_++, .tool_name = call.name()});
  is_named_ = true;
}

void ContentReader::tell_arguments(std::vector<AnswerDelta>& deltas, bool is_whole) {
  std::string_view rest = call_reader_->arguments();
  rest.remove_prefix(std::min(told_arguments_, rest.size()));
  if (!is_whole) rest = rest.substr(0, complete_utf8_size(rest));
  if (rest.empty()) return;
  told_arguments_ += rest.size();
  deltas.push_back({.kind = AnswerDelta::Kind::kToolArguments,
                    .text = replace_invalid_utf8(rest),
                    .tool_index = calls_ - 1});
}

void ContentReader::tell_waiting(std::vector<AnswerDelta>& deltas) {
  for (std::unique_ptr<CallReader>& call : std::exchange(waiting_, {})) {
    call_reader_ = std::move(call);
    told_arguments_ = 0;
    tell_name(*call_reader_, deltas);
    tell_arguments(deltas, /*is_whole=*/true);
  }
  leave_out(read_);
}

bool ContentReader::is_space_behind(char byte) const {
  return is_space(byte) || (byte == ';' && setting_.tools == ToolFormat::kLlama3Json);
}

/// White space, then what ends the call or a further one; anything else is text.
bool ContentReader::read_behind(size_t limit, std::vector<AnswerDelta>& deltas) {
  const Place* place = place_at(read_);
  while (place == nullptr && read_ < limit && is_space_behind(held_[read_])) {
    place = place_at(++read_);
  }
  if (place != nullptr && place->end > limit) return false;
  if (place != nullptr && place->marker == Marker::kClosesCall) {
    leave_out(place->end);
    go_on(Mode::kText, told_);
    return true;
  }
  if (place == nullptr) {
    if (read_ >= limit) return false;
    const std::string_view begins = call_beginning(setting_.tools), closes = setting_.closing;
    const bool may_begin = held_.may_begin(read_, limit, begins);
    const bool may_close = !closes.empty() && held_.may_begin(read_, limit, closes);
    if (may_begin && limit - read_ >= begins.size()) {
      open_call(read_, read_);
      return true;
    }
    if (may_close && limit - read_ >= closes.size()) {
      leave_out(read_ + closes.size());
      go_on(Mode::kText, told_);
      return true;
    }
    if (may_begin || may_close) return false;
  }
  if (waits_) {
    give_up_call(deltas);
  } else {
    go_on(Mode::kText, read_);
  }
  return true;
}

}  // namespace hypenet
