// Text to tokens as the reference harness does it: by counting tokens, even where a merge crosses
// the border between context and continuation.
#include "eval/encode.h"

#include <fmt/format.h>

#include <algorithm>
#include <future>
#include <thread>

#include "base/error.h"
#include "base/json.h"
#include "eval/python/python_text.h"
#include "text/unicode.h"

namespace hypenet {
namespace {

int32_t prefix_token(const Tokenizer& tokenizer) {
  const auto prefix = tokenizer.bos_id() ? tokenizer.bos_id() : tokenizer.eos_id();
  HYPENET_CHECK(prefix, "tokenizer_config.json: expected a bos_token or an eos_token to stand ",
                "before text without a context, found neither");
  return *prefix;
}

std::string excerpt(const std::string& text) {
  constexpr size_t kMost = 40;
  const bool is_long = text.size() > kMost;
  const std::string shown =
      is_long ? text.substr(0, complete_utf8_size(text.substr(0, kMost))) : text;
  return Json(shown).dump(-1, ' ', false, Json::error_handler_t::replace) + (is_long ? "..." : "");
}

/// Whether the ids were more than `most`, the last of which are kept.
bool keep_last(std::vector<int32_t>& ids, int64_t most) {
  const bool is_longer = static_cast<int64_t>(ids.size()) > most;
  if (is_longer) ids.erase(ids.begin(), ids.end() - most);
  return is_longer;
}

/// A context and its tokens: the choices of a question come in a row and have the same.
struct LastContext {
  std::string text = {};
  std::vector<int32_t> ids = {};
};

EncodedRequest encode_continuation(const Tokenizer& tokenizer, const EvalRequest& request,
                                   int64_t max_length, LastContext& last) {
  const auto before = strip_end(request.context);
  if (before != last.text) last = {std::string(before), tokenizer.encode(before)};
  std::vector<int32_t> row = last.ids;
  const std::vector<int32_t> whole = tokenizer.encode(request.context + request.continuation);
  const auto context = static_cast<int64_t>(row.size());
  const int64_t scored = static_cast<int64_t>(whole.size()) - context;
  HYPENET_CHECK(
      scored > 0, "eval: continuation ", excerpt(request.continuation),
      ": expected at least one token after its context, found none (both together make the "
      "context's tokens)");
  HYPENET_CHECK(scored <= max_length, "eval: continuation ", excerpt(request.continuation),
                ": expected at most ", max_length, " tokens, found ", scored);
  if (row.empty()) row.push_back(prefix_token(tokenizer));
  row.insert(row.end(), whole.begin() + context, whole.end());
  const bool is_cut = keep_last(row, max_length + 1);
  const auto length = static_cast<int64_t>(row.size());
  return {.parts = {{std::move(row), length - scored}}, .is_cut = is_cut};
}

/// Each token is predicted once: the first window after the prefix token, the later ones with as
/// many tokens before them as fit.
std::vector<ScoredRow> encode_windows(const Tokenizer& tokenizer, const std::string& text,
                                      int64_t max_length) {
  const std::vector<int32_t> tokens = tokenizer.encode(text);
  const auto count = static_cast<int64_t>(tokens.size());
  HYPENET_CHECK(count > 0, "eval: text to score: expected at least one token, found none");
  const int64_t first = std::min(max_length, count);
  std::vector<ScoredRow> windows(1);
  windows[0].ids = {prefix_token(tokenizer)};
  windows[0].ids.insert(windows[0].ids.end(), tokens.begin(), tokens.begin() + first);
  for (int64_t done = first; done < count;) {
    const int64_t scored = std::min(max_length, count - done), end = done + scored;
    const int64_t begin = end - max_length - 1;
    windows.push_back({{tokens.begin() + begin, tokens.begin() + end}, end - begin - scored});
    done = end;
  }
  return windows;
}

EncodedRequest encode_prompt(const Tokenizer& tokenizer, const EvalRequest& request,
                             int64_t max_length) {
  check_answer_fits("eval", request, max_length);
  std::vector<int32_t> prompt = tokenizer.encode(request.context);
  if (prompt.empty()) prompt.push_back(prefix_token(tokenizer));
  const bool is_cut = keep_last(prompt, std::max(max_length, request.length) - request.max_tokens);
  return {.prompt = std::move(prompt), .is_cut = is_cut};
}

EncodedRequest encode_one(const Tokenizer& tokenizer, const EvalRequest& request,
                          int64_t max_length, LastContext& last) {
  switch (request.kind) {
    case RequestKind::kLoglikelihood:
      return encode_continuation(tokenizer, request, max_length, last);
    case RequestKind::kRolling:
      return {.parts = encode_windows(tokenizer, request.context, max_length)};
    case RequestKind::kGenerate:
      return encode_prompt(tokenizer, request, max_length);
  }
  return {};
}

/// FNV-1a of 128 bits: a collision among a million requests has a chance of 10^-27.
class Hash {
 public:
  void add(const void* data, size_t size) {
    constexpr Word kPrime = (Word{1} << 88) + 0x13B;
    const auto* bytes = static_cast<const unsigned char*>(data);
    for (size_t i = 0; i < size; ++i) value_ = (value_ ^ bytes[i]) * kPrime;
  }
  void add(int64_t value) { add(&value, sizeof(value)); }
  void add(const std::string& text) {
    add(static_cast<int64_t>(text.size()));
    add(text.data(), text.size());
  }
  void add(std::span<const int32_t> ids) {
    add(static_cast<int64_t>(ids.size()));
    add(ids.data(), ids.size_bytes());
  }
  std::string text() const {
    return fmt::format("{:016x}{:016x}", static_cast<uint64_t>(value_ >> 64),
                       static_cast<uint64_t>(value_));
  }

 private:
  using Word = unsigned __int128;
  Word value_ = (Word{0x6C62272E07BB0142} << 64) + 0x62B821756295C58D;
};

}  // namespace

EncodedRequest encode_request(const Tokenizer& tokenizer, const EvalRequest& request,
                              int64_t max_length) {
  LastContext none;
  return encode_one(tokenizer, request, max_length, none);
}

std::vector<EncodedRequest> encode_requests(const Tokenizer& tokenizer,
                                            std::span<const EvalRequest* const> requests,
                                            int64_t max_length) {
  constexpr size_t kMostThreads = 16;
  const auto threads = std::clamp<size_t>(std::thread::hardware_concurrency(), 1, kMostThreads);
  const size_t share = (requests.size() + threads - 1) / threads;
  std::vector<EncodedRequest> encoded(requests.size());
  const auto encode_share = [&](size_t begin) {
    LastContext last;
    for (size_t i = begin; i < std::min(begin + share, requests.size()); ++i) {
      encoded[i] = encode_one(tokenizer, *requests[i], max_length, last);
    }
  };
  std::vector<std::future<void>> shares;
  shares.reserve(threads);
  for (size_t begin = 0; begin < requests.size(); begin += share) {
    shares.push_back(std::async(std::launch::async, encode_share, begin));
  }
  for (auto& part : shares) part.get();  // an error leaves here once all the others have ended
  return encoded;
}

void check_answer_fits(const std::string& place, const EvalRequest& request, int64_t max_length) {
  const int64_t read = std::max(max_length, request.length);
  HYPENET_CHECK(request.max_tokens > 0 && request.max_tokens < read, place,
                ": tokens of an answer: expected 1 to ", read - 1, " (the model reads ", read,
                "), found ", request.max_tokens);
}

std::string cut_answer(std::string text, std::span<const std::string> until) {
  for (const std::string& stop : until) {
    if (!stop.empty()) text.resize(std::min(text.size(), text.find(stop)));
  }
  return text;
}

std::string request_key(const EvalRequest& request, const EncodedRequest& encoded,
                        std::span<const int32_t> stop_ids) {
  Hash hash;
  hash.add(static_cast<int64_t>(request.kind));
  for (const ScoredRow& row : encoded.parts) {
    hash.add(row.first_scored);
    hash.add(row.ids);
  }
  if (request.kind == RequestKind::kGenerate) {
    hash.add(encoded.prompt);
    hash.add(request.max_tokens);
    for (const std::string& stop : request.until) hash.add(stop);
    hash.add(stop_ids);
  }
  return hash.text();
}

}  // namespace hypenet
