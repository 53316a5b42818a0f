// Requests as tokens, and generated tokens as the answer that is scored.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/scoring.h"
#include "eval/request.h"
#include "text/tokenizer.h"

namespace hypenet {

/// A request as tokens. `parts` are scored: one row, or the windows of a rolling log-likelihood.
/// `prompt` is continued (kGenerate).
struct EncodedRequest {
  std::vector<ScoredRow> parts = {};
  std::vector<int32_t> prompt = {};
  bool is_cut = false;  // the context lost its beginning
};

/// As lm-evaluation-harness 0.4.9.1 does: the context's trailing space moves, the continuation
/// begins where as many tokens as the context has end, no context is the prefix token (BOS, else
/// EOS), and what is longer than the model reads (`max_length` tokens, and one more that is only
/// predicted; of what is generated at least the request's length) is cut on the left or, rolling,
/// scored in windows.
/// Throws Error when a request leaves nothing to score or its continuation (its max_tokens) does
/// not fit.
EncodedRequest encode_request(const Tokenizer& tokenizer, const EvalRequest& request,
                              int64_t max_length);

/// encode_request of each, on all cores. Throws the error of the first request that has one.
std::vector<EncodedRequest> encode_requests(const Tokenizer& tokenizer,
                                            std::span<const EvalRequest* const> requests,
                                            int64_t max_length);

/// Throws Error, naming `place`, for an answer (kGenerate) that leaves no room for a prompt.
void check_answer_fits(const std::string& place, const EvalRequest& request, int64_t max_length);

/// The decoded answer, cut at the first of each stop string in turn; empty ones are ignored.
std::string cut_answer(std::string text, std::span<const std::string> until);

/// 32 hexadecimal digits of what decides an answer: kind, tokens, and for generation stop strings,
/// `stop_ids` and max_tokens. Equal keys are equal requests.
std::string request_key(const EvalRequest& request, const EncodedRequest& encoded,
                        std::span<const int32_t> stop_ids);

}  // namespace hypenet
