// Figures as JSON, and as a line of the log that nobody can forge.
#include "serve/request_figures.h"

#include <cmath>
#include <ctime>

#include "base/error.h"

namespace hypenet {
namespace {

std::string now() {
  const std::time_t time = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&time, &parts);
  char text[32];
  const size_t size = std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return {text, size};
}

/// In milliseconds, to the microsecond.
void put_time(Json& json, const char* key, double seconds) {
  if (seconds >= 0) json[key] = std::round(seconds * 1e6) / 1e3;
}

std::string line_of(const Json& json) {
  return json.dump(-1, ' ', true, Json::error_handler_t::replace);
}

/// A value of a text line: as it is where it is one plain word, else as JSON writes it.
std::string word(const Json& value) {
  if (!value.is_string()) return value.dump();
  const auto& text = value.get_ref<const std::string&>();
  const bool is_plain =
      !text.empty() && text.find_first_of("\"\\= ") == std::string::npos &&
      std::ranges::all_of(text, [](unsigned char byte) { return byte > 0x20 && byte < 0x7F; });
  return is_plain ? text : line_of(value);
}

}  // namespace

Json to_json(const RequestFigures& figures) {
  Json json = {{"id", figures.id}};
  if (!figures.key_name.empty()) json["key"] = figures.key_name;
  json["route"] = figures.route;
  json["status"] = figures.status;
  if (!figures.finish.empty()) json["finish"] = figures.finish;
  json["prompt_tokens"] = figures.prompt_tokens;
  json["cached_tokens"] = figures.cached_tokens;
  json["answer_tokens"] = figures.answer_tokens;
  put_time(json, "queue_ms", figures.queue_seconds);
  put_time(json, "prefill_ms", figures.prefill_seconds);
  put_time(json, "first_token_ms", figures.first_token_seconds);
  put_time(json, "decode_ms", figures.decode_seconds);
  put_time(json, "total_ms", figures.total_seconds);
  json["tier"] = figures.tier;
  json["client"] = figures.client;
  return json;
}

std::string log_line(const RequestFigures& figures, bool as_json) {
  Json json = to_json(figures);
  if (!figures.prompt.empty()) json["prompt"] = figures.prompt;
  if (!figures.answer.empty()) json["answer"] = figures.answer;
  if (as_json) {
    Json line = {{"time", now()}};
    line.update(json);
    return line_of(line);
  }
  std::string line = now();
  for (const auto& [key, value] : json.items()) line += concat(" ", key, "=", word(value));
  return line;
}

std::string log_note(const std::string& text, bool as_json) {
  return as_json ? line_of({{"time", now()}, {"message", text}}) : text;
}

}  // namespace hypenet
