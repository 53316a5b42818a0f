// What is known of a request when it is over: for the log, the metrics and /v1/status.
#pragma once

#include <cstdint>
#include <string>

#include "base/json.h"

namespace hypenet {

/// Seconds are counted from the request's arrival to whatever they name; negative: it never came.
struct RequestFigures {
  std::string id = {}, key_name = {}, route = {}, client = {}, finish = {}, tier = "none";
  std::string prompt = {}, answer = {};  // texts, for the log alone and where it may have them
  int status = 200;
  int64_t prompt_tokens = 0, cached_tokens = 0, answer_tokens = 0;
  double queue_seconds = -1;    // until the engine began to read its prompt
  double prefill_seconds = -1;  // from there to the first token
  double first_token_seconds = -1;
  double decode_seconds = -1;  // from the first token to the last
  double total_seconds = 0;
};

/// One object, times in milliseconds, what never came left out. Never a text of prompt or answer.
Json to_json(const RequestFigures& figures);

/// One line without its line feed: "2026-11-30T01:02:03Z id=... status=200 ...", or the object with
/// the time; with the texts where there are any. Control characters are escaped.
std::string log_line(const RequestFigures& figures, bool as_json);

/// A line about the server itself: the text, or {"time", "message"}.
std::string log_note(const std::string& text, bool as_json);

}  // namespace hypenet
