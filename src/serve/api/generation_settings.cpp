// What settings mean for the engine.
#include "serve/api/generation_settings.h"

namespace hypenet {

GenerationSettings default_settings(const ServedModel& model) {
  return {.sampling = model.defaults,
          .reuse = model.reuse,
          .cache_salt = model.cache_salt,
          .timeout = model.request_timeout};
}

void check_context(int64_t prompt_tokens, const ServedModel& model) {
  if (prompt_tokens < model.context_length) return;
  throw ApiError("context_length_exceeded",
                 concat("prompt: expected less than the context's ", model.context_length,
                        " tokens, found ", prompt_tokens));
}

GenerateOptions generate_options(const GenerationSettings& settings, const ServedModel& model,
                                 int64_t prompt_tokens, std::span<const int32_t> end_ids,
                                 int64_t seed, int64_t choice) {
  check_context(prompt_tokens, model);
  const int64_t left = model.context_length - prompt_tokens;
  GenerateOptions options{.max_tokens = std::min(settings.max_tokens.value_or(left), left),
                          .sampling = settings.sampling,
                          .stop_ids = settings.stop_ids,
                          .min_tokens = settings.min_tokens,
                          .top_logprobs = settings.top_logprobs};
  if (!settings.ignore_eos) {
    options.stop_ids.insert(options.stop_ids.end(), end_ids.begin(), end_ids.end());
  }
  options.sampling.seed = static_cast<uint64_t>(seed) + static_cast<uint64_t>(choice);
  return options;
}

void check_settings_agree(const GenerationSettings& settings, const Json& body) {
  const Field top{body, ""};
  if (settings.max_tokens && settings.min_tokens > *settings.max_tokens) {
    fail_value(required(top, "min_tokens"),
               concat("an integer (0 to max_tokens, ", *settings.max_tokens, ")"));
  }
  const std::optional<Field> best_of = top.find("best_of");
  if (best_of && read_integer(*best_of) != settings.choices) {
    fail_unsupported(*best_of, "another number than n is");
  }
  if (settings.streams) return;
  const std::optional<Field> options = top.find("stream_options");
  if (options) fail_value(*options, "none without \"stream\": true");
}

}  // namespace hypenet
