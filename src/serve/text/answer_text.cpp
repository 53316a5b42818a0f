// Phases: a beginning that may be <think>, thoughts, newlines behind them, content.
#include "serve/text/answer_text.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "serve/text/content_reader.h"
#include "serve/text/thought_reader.h"

namespace hypenet {
namespace {

constexpr const char* kOpensThought = "<think>";
constexpr const char* kClosesThought = "</think>";

/// A marker of a format, as a token or else as text.
struct MarkerText {
  std::optional<int32_t> id;
  std::string text;  // empty where there is a token

  MarkerText(const Tokenizer& tokenizer, std::string marker)
      : id(marker.empty() ? std::nullopt : tokenizer.token_id(marker)),
        text(id ? "" : std::move(marker)) {}
};

std::string opening_of(ToolFormat format) {
  if (format == ToolFormat::kNone) return "";
  return has_call_markers(format) ? "<tool_call>" : "<|python_tag|>";
}

ContentSetting content_setting(AnswerSetting setting, const MarkerText& opening,
                               const MarkerText& closing) {
  return {.tools = setting.tools,
          .valid_calls = setting.valid_calls,
          .tool_list = std::move(setting.tool_list),
          .stops = std::move(setting.stops),
          .opening = opening.text,
          .closing = closing.text};
}

}  // namespace

bool has_reasoning(const Tokenizer& tokenizer) {
  return tokenizer.token_id(kOpensThought) && tokenizer.token_id(kClosesThought);
}

struct AnswerText::State {
  enum class Phase { kBeginning, kThought, kBehindThought, kContent, kEnded };

  State(const Tokenizer& vocabulary, const AnswerSetting& setting);

  Step push(Event event);
  void push_beginning(Event event, std::string_view bytes);
  void push_thought(Event event, std::string_view bytes);
  void push_behind(Event event, std::string_view bytes);
  void push_content(Event event, std::string_view bytes);
  void release_beginning();
  Marker marker_of(int32_t id) const;

  const Tokenizer& tokenizer;
  bool skip_special;
  MarkerText opens_thought, closes_thought, opens_call, closes_call;
  Phase phase = Phase::kContent;
  std::vector<std::pair<Event, std::string>> beginning;  // tokens that may still be <think>
  std::string beginning_text;
  ThoughtReader thought;
  ContentReader content;
  int64_t reasoning_tokens = 0;
  Step step;  // what the token at hand gave
};

AnswerText::State::State(const Tokenizer& vocabulary, const AnswerSetting& setting)
    : tokenizer(vocabulary),
      skip_special(setting.skip_special),
      opens_thought(vocabulary, kOpensThought),
      closes_thought(vocabulary, kClosesThought),
      opens_call(vocabulary, opening_of(setting.tools)),
      closes_call(vocabulary, has_call_markers(setting.tools) ? "</tool_call>" : ""),
      thought(closes_thought.text),
      content(content_setting(setting, opens_call, closes_call)) {
  if (setting.has_reasoning) phase = Phase::kBeginning;
  if (setting.opens_in_reasoning) phase = Phase::kThought;
}

Marker AnswerText::State::marker_of(int32_t id) const {
  if (opens_call.id == id) return Marker::kOpensCall;
  return closes_call.id == id ? Marker::kClosesCall : Marker::kNone;
}

AnswerText::Step AnswerText::State::push(Event event) {
  const bool is_shown = !skip_special || !tokenizer.is_special(event.id);
  const std::string_view bytes = is_shown ? tokenizer.token_bytes(event.id) : std::string_view();
  switch (phase) {
    case Phase::kBeginning:
      push_beginning(std::move(event), bytes);
      break;
    case Phase::kThought:
      push_thought(std::move(event), bytes);
      break;
    case Phase::kBehindThought:
      push_behind(std::move(event), bytes);
      break;
    case Phase::kContent:
      push_content(std::move(event), bytes);
      break;
    case Phase::kEnded:
      break;
  }
  return std::exchange(step, {});
}

void AnswerText::State::push_beginning(Event event, std::string_view bytes) {
  constexpr std::string_view kSpace = " \n\r\t";
  const bool is_marker = opens_thought.id == event.id;
  beginning.emplace_back(std::move(event), bytes);
  beginning_text += bytes;
  const size_t at = std::min(beginning_text.find_first_not_of(kSpace), beginning_text.size());
  const std::string_view text = std::string_view(beginning_text).substr(at);
  const std::string_view sought = opens_thought.text;
  const bool is_opened = is_marker || (!sought.empty() && text.starts_with(sought));
  if (is_opened) {
    reasoning_tokens += std::ssize(beginning);
    phase = Phase::kThought;
    const std::string rest(is_marker ? "" : text.substr(sought.size()));
    Event last = std::move(beginning.back().first);
    beginning.clear();
    --reasoning_tokens;
    return push_thought(std::move(last), rest);
  }
  if (!sought.starts_with(text)) release_beginning();
}

/// It was content.
void AnswerText::State::release_beginning() {
  phase = Phase::kContent;
  for (auto& [event, bytes] : std::exchange(beginning, {})) {
    if (phase == Phase::kContent) push_content(std::move(event), bytes);
  }
}

void AnswerText::State::push_thought(Event event, std::string_view bytes) {
  ++reasoning_tokens;
  const bool is_marker = closes_thought.id == event.id;
  // A prompt that opened the thought does not keep a model from doing so again.
  const bool is_opening = opens_thought.id == event.id && thought.is_empty();
  const size_t taken = is_marker || is_opening ? bytes.size() : thought.push(bytes, step.deltas);
  if (!is_marker && !thought.is_closed()) return;
  thought.finish(step.deltas);
  phase = Phase::kBehindThought;
  if (taken < bytes.size()) push_behind(std::move(event), bytes.substr(taken));
}

void AnswerText::State::push_behind(Event event, std::string_view bytes) {
  bytes.remove_prefix(std::min(bytes.find_first_not_of('\n'), bytes.size()));
  if (bytes.empty() && marker_of(event.id) == Marker::kNone) return;
  phase = Phase::kContent;
  push_content(std::move(event), bytes);
}

void AnswerText::State::push_content(Event event, std::string_view bytes) {
  const Marker marker = marker_of(event.id);
  step.found_stop = content.push(std::move(event), bytes, marker, step.deltas);
  if (step.found_stop) phase = Phase::kEnded;
}

AnswerText::AnswerText(const Tokenizer& tokenizer, const AnswerSetting& setting)
    : state_(std::make_unique<State>(tokenizer, setting)) {}
AnswerText::~AnswerText() = default;
AnswerText::AnswerText(AnswerText&&) noexcept = default;
AnswerText& AnswerText::operator=(AnswerText&&) noexcept = default;

AnswerText::Step AnswerText::push(Event event) {
  return event.id < 0 ? Step() : state_->push(std::move(event));
}

AnswerText::Step AnswerText::finish() {
  using Phase = State::Phase;
  if (state_->phase == Phase::kBeginning) state_->release_beginning();
  if (state_->phase == Phase::kThought) state_->thought.finish(state_->step.deltas);
  if (state_->phase == Phase::kContent) state_->content.finish(state_->step.deltas);
  state_->phase = Phase::kEnded;
  return std::exchange(state_->step, {});
}

std::string AnswerText::stop_string() const { return state_->content.stop_string(); }

int64_t AnswerText::reasoning_tokens() const { return state_->reasoning_tokens; }

int64_t AnswerText::tool_calls() const { return state_->content.calls(); }

}  // namespace hypenet
