// What a load test sends: how many requests, when, how long, to which endpoint.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace hypenet {

/// A number, or one drawn evenly from first to last.
struct LengthRange {
  int64_t first = 0, last = 0;

  /// "512" or "256:1024"; `flag` names it in errors.
  static LengthRange parse(std::string_view text, std::string_view flag);
};

enum class LoadEndpoint {
  kCompletions,  // token ids as prompts: exact lengths
  kChat,         // words as messages: about a token each
};

/// What one line of a file of requests gives; what it leaves out is drawn.
struct LoadLine {
  Json prompt;  // null, a text, an array of ids or, for the chat, an array of messages
  std::optional<int64_t> prompt_tokens, answer_tokens;
};

/// Lines {"prompt": TEXT or [IDS]} or {"messages": [...]} or {"prompt_tokens": N}, each with or
/// without "answer_tokens". Throws Error with the line.
std::vector<LoadLine> read_load_lines(std::string_view text, const std::string& place);

struct LoadOptions {
  std::string url, model, api_key;  // model: none is the server's first
  LoadEndpoint endpoint = LoadEndpoint::kCompletions;
  int64_t conversations = 100, turns = 1;
  int64_t clients = 0;    // requests under way at once; 0: any number
  double seconds = 0;     // after which no request is sent; 0: all are
  double rate = 0;        // conversations begun a second; 0: as soon as a client is free
  double burstiness = 1;  // shape of the gamma distribution between two; 1: Poisson
  LengthRange prompt_tokens{512, 512}, answer_tokens{128, 128};
  std::vector<LoadLine> lines;     // taken in turn in place of drawn prompts
  int64_t shared_prefix = 0;       // tokens in front of every prompt
  std::optional<LengthRange> ids;  // ids to draw prompts from; none: those of plain English words
  bool ignores_end = false;
  double temperature = 0, timeout = 600;
  int64_t warm_up = 4;
  uint64_t seed = 0;
};

/// Throws Error for values that make no load.
void check(const LoadOptions& options);

}  // namespace hypenet
