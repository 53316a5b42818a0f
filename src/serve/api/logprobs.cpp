// Log-probabilities as the two forms of OpenAI tell them.
#include <array>
#include <charconv>
#include <cmath>
#include <span>

#include "serve/api/answer_parts.h"
#include "text/unicode.h"

namespace hypenet {
namespace {

Json bytes_json(std::string_view bytes) {
  Json list = Json::array();
  for (const char byte : bytes) list.push_back(static_cast<unsigned char>(byte));
  return list;
}

Json entry_json(std::string_view bytes, float logprob) {
  return {{"token", replace_invalid_utf8(bytes)},
          {"logprob", logprob_json(logprob)},
          {"bytes", bytes_json(bytes)}};
}

std::span<const TokenLogprob> alternatives(const Event& event, int64_t count) {
  return std::span(event.top).first(std::min(event.top.size(), static_cast<size_t>(count)));
}

bool begins_character(char byte) { return (static_cast<unsigned char>(byte) & 0xC0U) != 0x80; }

int64_t count_characters(std::string_view text) {
  return std::ranges::count_if(text, begins_character);
}

/// {text: logprob}; of equal texts the first, which is the larger.
Json top_json(const Event& event, int64_t count, const Tokenizer& tokenizer) {
  if (std::isnan(event.logprob)) return nullptr;
  Json top = Json::object();
  for (const auto& [id, logprob] : alternatives(event, count)) {
    top.emplace(replace_invalid_utf8(tokenizer.token_bytes(id)), logprob_json(logprob));
  }
  return top;
}

}  // namespace

Json logprob_json(float logprob) {
  constexpr double kImpossible = -9999.0;
  if (std::isnan(logprob)) return nullptr;
  if (std::isinf(logprob)) return kImpossible;
  // The shortest digits of the float, which a double prints again.
  std::array<char, 32> digits;
  const auto written = std::to_chars(digits.data(), digits.data() + digits.size(), logprob);
  double value = 0;
  std::from_chars(digits.data(), written.ptr, value);
  return value;
}

Json chat_logprobs(const AnswerDelta& delta, int64_t count, const Tokenizer& tokenizer) {
  Json entries = Json::array();
  for (const auto& [event, bytes] : delta.tokens) {
    Json top = Json::array();
    for (const auto& [id, logprob] : alternatives(event, count)) {
      top.push_back(entry_json(tokenizer.token_bytes(id), logprob));
    }
    Json entry = entry_json(bytes, event.logprob);
    entry["top_logprobs"] = std::move(top);
    entries.push_back(std::move(entry));
  }
  return entries;
}

Json CompletionLogprobs::add(const AnswerDelta& delta, int64_t count, const Tokenizer& tokenizer) {
  Json tokens = Json::array(), logprobs = Json::array(), top = Json::array(),
       offsets = Json::array();
  const int64_t most = characters_ + count_characters(delta.text);
  int64_t begun = characters_;  // characters whose first byte a token before had
  for (const auto& [event, bytes] : delta.tokens) {
    const bool is_inside = !bytes.empty() && !begins_character(bytes.front());
    offsets.push_back(std::clamp(begun - (is_inside ? 1 : 0), characters_, most));
    begun += count_characters(bytes);
    tokens.push_back(replace_invalid_utf8(bytes));
    logprobs.push_back(logprob_json(event.logprob));
    top.push_back(top_json(event, count, tokenizer));
  }
  characters_ = most;
  return {{"tokens", std::move(tokens)},
          {"token_logprobs", std::move(logprobs)},
          {"top_logprobs", count > 0 ? std::move(top) : Json(nullptr)},
          {"text_offset", std::move(offsets)}};
}

void append_completion_logprobs(Json& all, Json more) {
  if (all.is_null()) {
    all = std::move(more);
    return;
  }
  for (auto& [name, list] : all.items()) {
    if (list.is_null()) continue;
    for (Json& value : more[name]) list.push_back(std::move(value));
  }
}

}  // namespace hypenet
