// Lengths and lines of requests from their texts.
#include "serve/load/options.h"

#include <charconv>
#include <cmath>
#include <set>

#include "base/error.h"

namespace hypenet {
namespace {

int64_t parse_number(std::string_view text, std::string_view flag) {
  int64_t value = 0;
  const auto end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, value);
  HYPENET_CHECK(parsed.ec == std::errc() && parsed.ptr == end && value >= 0, flag,
                ": expected N or FIRST:LAST, found \"", text, "\"");
  return value;
}

std::optional<int64_t> tokens(const Json& line, const char* key, const std::string& place) {
  if (!line.contains(key)) return std::nullopt;
  const Json& value = line.at(key);
  HYPENET_CHECK(value.is_number_integer() && value >= 1, place, ": ", key,
                ": expected an integer of 1 or more, found ", value.dump());
  return value.get<int64_t>();
}

LoadLine read_line(std::string_view text, const std::string& place) {
  const Json json = parse_json(text, place);
  HYPENET_CHECK(json.is_object(), place, ": expected an object, found ", json_kind(json));
  static const std::set<std::string> known = {"prompt", "messages", "prompt_tokens",
                                              "answer_tokens"};
  for (const auto& [key, value] : json.items()) {
    HYPENET_CHECK(known.contains(key), place, ": unknown key \"", key, "\"");
  }
  HYPENET_CHECK(
      json.contains("prompt") + json.contains("messages") + json.contains("prompt_tokens") <= 1,
      place, ": expected one of prompt, messages and prompt_tokens, found several");
  LoadLine line;
  if (json.contains("prompt")) line.prompt = json.at("prompt");
  if (json.contains("messages")) line.prompt = json.at("messages");
  line.prompt_tokens = tokens(json, "prompt_tokens", place);
  line.answer_tokens = tokens(json, "answer_tokens", place);
  return line;
}

}  // namespace

LengthRange LengthRange::parse(std::string_view text, std::string_view flag) {
  const size_t colon = text.find(':');
  const int64_t first = parse_number(text.substr(0, colon), flag);
  const int64_t last = colon == text.npos ? first : parse_number(text.substr(colon + 1), flag);
  HYPENET_CHECK(first <= last, flag, ": expected FIRST:LAST upwards, found \"", text, "\"");
  return {first, last};
}

std::vector<LoadLine> read_load_lines(std::string_view text, const std::string& place) {
  std::vector<LoadLine> lines;
  for (int64_t number = 1; !text.empty(); ++number) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    if (line.find_first_not_of(" \t\r") != line.npos) {
      lines.push_back(read_line(line, concat(place, ":", number)));
    }
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  HYPENET_CHECK(!lines.empty(), place, ": expected a line a request, found none");
  return lines;
}

void check(const LoadOptions& options) {
  const auto check_count = [](const char* flag, int64_t value, int64_t least) {
    HYPENET_CHECK(value >= least, flag, ": expected ", least, " or more, found ", value);
  };
  check_count("--requests", options.conversations, 1);
  HYPENET_CHECK(options.seconds >= 0, "--seconds: expected over 0, found ", options.seconds);
  check_count("--turns", options.turns, 1);
  check_count("--clients", options.clients, 0);
  check_count("--shared-prefix", options.shared_prefix, 0);
  check_count("--warm-up", options.warm_up, 0);
  check_count("--prompt-tokens", options.prompt_tokens.first, 1);
  check_count("--answer-tokens", options.answer_tokens.first, 1);
  HYPENET_CHECK(std::isfinite(options.rate) && options.rate >= 0,
                "--rate: expected over 0 requests a second, found ", options.rate);
  HYPENET_CHECK(std::isfinite(options.burstiness) && options.burstiness > 0,
                "--burstiness: expected over 0, found ", options.burstiness);
  HYPENET_CHECK(std::isfinite(options.timeout) && options.timeout > 0,
                "--timeout: expected over 0 seconds, found ", options.timeout);
}

}  // namespace hypenet
