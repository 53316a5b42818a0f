// The part of an answer that is no thought: content up to a stop string, with the tool calls in it
// taken out. What is no valid call stays content.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "serve/text/answer_delta.h"
#include "serve/text/held_tokens.h"
#include "serve/text/tool_calls.h"
#include "text/stop_finder.h"

namespace hypenet {

/// What a token is beside its text.
enum class Marker { kNone, kOpensCall, kClosesCall };

struct ContentSetting {
  ToolFormat tools = ToolFormat::kNone;
  bool valid_calls = false;  // every call will be valid: it is told while it comes
  ToolList tool_list = {};   // what may be called
  std::vector<std::string> stops = {};
  std::string opening = {}, closing = {};  // the markers as texts; empty: they are tokens
};

class ContentReader {
 public:
  explicit ContentReader(ContentSetting setting);

  /// Takes a token with what it shows. True once a stop string came; nothing may follow then.
  bool push(Event event, std::string_view bytes, Marker marker, std::vector<AnswerDelta>& deltas);

  /// Tells the rest. Nothing may follow.
  void finish(std::vector<AnswerDelta>& deltas);

  int64_t calls() const { return calls_; }
  /// What ended it; empty: no stop string.
  std::string stop_string() const { return stops_.found(); }

 private:
  enum class Mode { kText, kCall, kBehindCall };
  /// A token that is a marker; places are those of HeldTokens.
  struct Place {
    size_t begin = 0, end = 0;
    Marker marker = Marker::kNone;
  };

  const Place* place_at(size_t at);
  void advance(size_t limit, std::vector<AnswerDelta>& deltas);
  bool read_text(size_t limit, std::vector<AnswerDelta>& deltas);
  bool read_call(size_t limit, std::vector<AnswerDelta>& deltas);
  bool read_behind(size_t limit, std::vector<AnswerDelta>& deltas);
  bool is_space_behind(char byte) const;
  void take_plain(size_t end);
  void open_call(size_t begin, size_t end);
  void end_call(std::vector<AnswerDelta>& deltas);
  void give_up_call(std::vector<AnswerDelta>& deltas);
  void tell_name(const CallReader& call, std::vector<AnswerDelta>& deltas);
  void tell_arguments(std::vector<AnswerDelta>& deltas, bool is_whole);
  void tell_waiting(std::vector<AnswerDelta>& deltas);
  void leave_out(size_t end);
  void go_on(Mode mode, size_t at);

  ContentSetting setting_;
  bool waits_;  // calls are told at the end of the answer, if all of it is calls
  StopFinder stops_, openings_;
  HeldTokens held_;
  std::deque<Place> places_;
  Mode mode_ = Mode::kText;
  bool may_be_object_;  // the answer may still begin with a call that no marker opens
  size_t read_ = 0;     // what the modes have read
  size_t plain_ = 0;    // before it no marker as text can begin any more
  size_t solid_ = 0;    // the end of the last text before plain_ that is no white space
  size_t told_ = 0;     // the end of the last call that was told
  size_t call_ = 0,
         inner_ = 0;  // where the first call that is not told opened, and its marker ended
  std::unique_ptr<CallReader> call_reader_;
  std::vector<std::unique_ptr<CallReader>> waiting_;  // whole calls that are not told
  bool is_named_ = false;                             // the call at hand was told
  size_t told_arguments_ = 0;                         // of the call at hand
  int64_t calls_ = 0;
};

}  // namespace hypenet
