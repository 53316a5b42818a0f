// Pieces of answers as JSON.
#include "serve/api/answer_parts.h"

#include <algorithm>
#include <cmath>

namespace hypenet {

void AnswerChoice::add(const AnswerDelta& delta, const std::string& call_id) {
  using Delta = AnswerDelta::Kind;
  using Block = AnswerBlock::Kind;
  if (delta.kind == Delta::kToolCall) {
    blocks.push_back({.kind = Block::kCall, .name = delta.tool_name, .id = call_id});
    return;
  }
  if (delta.text.empty()) return;
  const Block kind = delta.kind == Delta::kContent     ? Block::kContent
                     : delta.kind == Delta::kReasoning ? Block::kReasoning
                                                       : Block::kCall;
  if (blocks.empty() || blocks.back().kind != kind) blocks.push_back({.kind = kind});
  blocks.back().text += delta.text;
}

bool AnswerChoice::has_calls() const {
  return std::ranges::any_of(
      blocks, [](const AnswerBlock& block) { return block.kind == AnswerBlock::Kind::kCall; });
}

std::string AnswerChoice::text(AnswerBlock::Kind kind) const {
  std::string all;
  for (const AnswerBlock& block : blocks) {
    if (block.kind == kind) all += block.text;
  }
  return all;
}

bool is_empty(const AnswerDelta& delta) {
  return delta.kind != AnswerDelta::Kind::kToolCall && delta.text.empty() && delta.tokens.empty();
}

std::string random_id(std::string_view prefix, Random& random) {
  constexpr std::string_view kLetters =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  constexpr int kLength = 24;
  std::string id(prefix);
  for (int i = 0; i < kLength; ++i) {
    id += kLetters[static_cast<size_t>(random.below(std::ssize(kLetters)))];
  }
  return id;
}

std::string_view finish_name(FinishReason reason, bool has_calls) {
  if (reason != FinishReason::kStop) return "length";
  return has_calls ? "tool_calls" : "stop";
}

std::string quoted(const std::string& text) { return body_text(Json(text)); }

Json usage_json(const Usage& usage) {
  return {{"prompt_tokens", usage.prompt_tokens},
          {"completion_tokens", usage.completion_tokens},
          {"total_tokens", usage.prompt_tokens + usage.completion_tokens},
          {"prompt_tokens_details", {{"cached_tokens", usage.cached_tokens}}},
          {"completion_tokens_details", {{"reasoning_tokens", usage.reasoning_tokens}}}};
}

namespace {

double to_thousandth(double value) {
  constexpr double kParts = 1000;
  return std::isfinite(value) ? std::round(value * kParts) / kParts : 0;
}

}  // namespace

Json timings_json(const Timings& timings) {
  Json json = write_fields(timings);
  for (auto& [name, value] : json.items()) {
    if (value.is_number_float()) value = to_thousandth(value.get<double>());
  }
  return json;
}

Json progress_json(const PromptProgress& progress) {
  return {{"processed", progress.processed},
          {"cached", progress.cached},
          {"total", progress.total},
          {"ms", to_thousandth(progress.ms)}};
}

std::string WholeAnswer::begin(int64_t) { return {}; }

std::string WholeAnswer::delta(int64_t choice, const AnswerDelta& delta) {
  const bool begins_call = delta.kind == AnswerDelta::Kind::kToolCall;
  choices_.at(static_cast<size_t>(choice))
      .add(delta, begins_call ? random_id(call_prefix_, random_) : std::string());
  return {};
}

std::string WholeAnswer::end(int64_t choice, FinishReason reason, const std::string& stop_string) {
  AnswerChoice& ended = choices_.at(static_cast<size_t>(choice));
  ended.reason = reason;
  ended.stop_string = stop_string;
  return {};
}

Json WholeAnswer::head_json(const char* object) const {
  return {{"id", head_.id},
          {"object", object},
          {"created", head_.created},
          {"model", head_.model},
          {"system_fingerprint", head_.fingerprint},
          {"seed", head_.seed}};
}

}  // namespace hypenet
