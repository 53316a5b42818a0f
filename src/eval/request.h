// What a task asks of a model: the three kinds of requests of lm-evaluation-harness, as text
// (docs/evaluation.md, "How requests run").
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace hypenet {

enum class RequestKind { kLoglikelihood, kRolling, kGenerate };

/// kLoglikelihood: of `continuation` after `context`. kRolling: of all tokens of `context`.
/// kGenerate: a greedy answer to `context` that ends before any of `until`, or after `max_tokens`.
struct EvalRequest {
  RequestKind kind = RequestKind::kLoglikelihood;
  std::string context = {};
  std::string continuation = {};
  std::vector<std::string> until = {};
  int64_t max_tokens = 0;
  // Tokens that context and answer were made to fill, read whole even where that is more than the
  // model was made for; 0: made for no length.
  int64_t length = 0;

  bool operator==(const EvalRequest&) const = default;
};

/// As an evaluator takes them, so that prompts of a million tokens are not held twice.
inline std::vector<const EvalRequest*> addresses_of(std::span<const EvalRequest> requests) {
  std::vector<const EvalRequest*> addresses;
  for (const EvalRequest& request : requests) addresses.push_back(&request);
  return addresses;
}

/// A model's answer. `loglikelihood` in nats, summed over tokens; `is_greedy`: each of them was the
/// model's first choice.
struct EvalAnswer {
  double loglikelihood = 0;
  bool is_greedy = false;
  std::string text = {};  // kGenerate
};

}  // namespace hypenet
