// What is asked of the engine, and what it answers.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/grid.h"
#include "engine/reuse.h"
#include "engine/token_mask.h"
#include "kernels/sampling.h"

namespace hypenet {

/// What is known of an option that is one number.
struct OptionAbout {
  double least = 0, most = 0;  // that it may be
  bool or_zero = false;
  bool chooses = false;  // among tokens: at temperature 0 it has no effect
  const char* text = "";
  bool allows(double value) const {
    return (value >= least && value <= most) || (or_zero && value == 0);
  }
};

/// How the next token is chosen; the order of the steps is that of ops/sampling.h.
struct SamplingOptions {
  double temperature = 0;  // 0: greedy
  int64_t top_k = 0;       // 0: all
  double top_p = 1;
  double min_p = 0;
  double repetition_penalty = 1;  // of tokens of prompt and answer
  double presence_penalty = 0;    // of tokens of the answer, as is the next
  double frequency_penalty = 0;
  std::vector<std::pair<int32_t, float>> logit_bias = {};  // at most kMostBiases
  uint64_t seed = 0;

  static constexpr int64_t kMostBiases = 512;

  /// Every setting that is one number: option(its key, where it is here and in what the op takes,
  /// about). Flags, files, checks and records of runs are made from this list.
  template <class Visitor>
  static void visit(Visitor&& option) {
    using Self = SamplingOptions;
    using Settings = kernels::SampleSettings;
    // They become float32: what is less would be 0.
    constexpr double kLeast = 1e-6, kMost = 1e6;
    option("temperature", &Self::temperature, &Settings::temperature,
           OptionAbout{.least = kLeast,
                       .most = kMost,
                       .or_zero = true,
                       .text = "0: always the likeliest token"});
    option("top_k", &Self::top_k, &Settings::top_k,
           OptionAbout{.most = INT32_MAX,
                       .chooses = true,
                       .text = "draw from so many likeliest tokens (0: all)"});
    option("top_p", &Self::top_p, &Settings::top_p,
           OptionAbout{.least = kLeast,
                       .most = 1,
                       .chooses = true,
                       .text = "draw from the likeliest tokens of this share"});
    option("min_p", &Self::min_p, &Settings::min_p,
           OptionAbout{.most = 1,
                       .chooses = true,
                       .text = "draw from tokens at least this share as likely as the likeliest"});
    option("repetition_penalty", &Self::repetition_penalty, &Settings::repetition_penalty,
           OptionAbout{.least = kLeast,
                       .most = kMost,
                       .text = "divides the chances of tokens that occurred (1: none)"});
    option("presence_penalty", &Self::presence_penalty, &Settings::presence_penalty,
           OptionAbout{.least = -2,
                       .most = 2,
                       .text = "subtracted from the logits of the answer's tokens (0: none)"});
    option("frequency_penalty", &Self::frequency_penalty, &Settings::frequency_penalty,
           OptionAbout{.least = -2,
                       .most = 2,
                       .text = "subtracted as often as the answer has the token (0: none)"});
  }
};

struct GenerateOptions {
  int64_t max_tokens = 128;
  SamplingOptions sampling;
  std::vector<int32_t> stop_ids;  // generation ends before any of these
  int64_t min_tokens = 0;         // stop_ids (then at most kMostBans) are not chosen before these
  int64_t top_logprobs = -1;      // likeliest tokens told with each token: to kMostTop; -1, 0: none
  std::shared_ptr<TokenMask> mask = {};  // which tokens may come next; null: all

  static constexpr int64_t kMostBans = 64;
  static constexpr int64_t kMostTop = kernels::kMostTop;
};

struct Request {
  std::vector<int32_t> prompt;
  GenerateOptions options;
  std::vector<PromptMark> marks = {};   // part of the request: they move cuts, and bits with them
  std::optional<ReuseMode> reuse = {};  // nullopt: EngineOptions::reuse
  std::string salt = {};                // only requests of one salt share what is kept
  bool tells_progress = false;          // whether there are events of the prompt's pieces
};

/// kNotFinite: the model's logits were nan or infinite. kNoToken: mask, min_tokens and biases left
/// no token to choose.
enum class FinishReason { kNone, kStop, kLength, kCancelled, kNotFinite, kNoToken };

/// "stop", "length", "cancelled", "not finite", "no token"; "none" while an answer goes on.
std::string_view to_string(FinishReason reason);

struct TokenLogprob {
  int32_t id = -1;
  float logprob = 0;  // nats, of the raw logits
};

/// A token as it comes, or the end of an answer. `id` is -1 when there is only the end to tell.
struct Event {
  int64_t sequence = 0;
  int32_t id = -1;
  float logprob = 0;  // nats, of the raw logits
  FinishReason finish = FinishReason::kNone;
  int64_t read = 0;  // not 0: no token, but so many of the prompt's tokens are read
  std::chrono::steady_clock::time_point time = {};  // of a token or the end: its step was done
  // With pieces, the first token and the end: how the prompt was read. Null elsewhere.
  std::shared_ptr<const PromptReport> report = {};
  // The likeliest tokens in this one's place, downwards, the first id of equals first: as many as
  // GenerateOptions::top_logprobs asks for (the vocabulary may have fewer).
  std::vector<TokenLogprob> top = {};
};

struct Completion {
  std::vector<int32_t> ids;
  std::vector<float> logprobs;
  FinishReason finish = FinishReason::kNone;
};

struct EngineOptions {
  int64_t memory_bytes = 0;    // for pages and states; 0: a GPU's free memory but 10 %, or 4 GiB
  int64_t max_sequences = 16;  // run side by side; each has a state a recurrent layer
  int64_t max_context = 0;     // tokens of a sequence at most; 0: what the memory holds
  int64_t page_tokens = 128;   // a multiple of 64
  int64_t prefill_chunk = 0;   // tokens of a piece of a prompt; 0: 8192 on a GPU, 256 on a CPU
  int64_t grid_min = 1024;     // tokens of a piece that ends at a turn, at least
  int64_t reserved_answer = 1024;  // tokens of an answer whose pages are taken at its start
  double decode_share = 0;         // of the time, for decode while prompts wait; 0: a step a piece
  std::optional<ReuseMode> reuse = {};  // nullopt: nearest on a CPU, exact on a GPU
  // For prompts that are kept to be reused; both 0: nothing is. Of the device's (part of
  // memory_bytes) and of the host's (pinned beside a GPU), half is for snapshots of states and half
  // for pages, where the model has both. Sequences take pages from what is kept at any time. -1:
  // snapshots get a quarter of what slots leave, pages all that sequences do not need.
  int64_t cache_bytes = 0, cache_host_bytes = 0;
  int64_t stepped_prompt = 0;         // prompts up to this go with the steps, a token each
  bool poisons_freed_memory = false;  // NaN in what a sequence leaves behind: for tests
  bool uses_graphs = true;            // record decode steps and short prefills on a GPU
};

}  // namespace hypenet
