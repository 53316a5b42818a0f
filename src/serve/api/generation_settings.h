// How an answer is made: what the endpoints that answer with text have in common.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "serve/api/parameters.h"

namespace hypenet {

/// What form an answer's text must have.
struct ResponseFormat {
  enum class Kind { kText, kJsonObject, kJsonSchema } kind = Kind::kText;
  std::string name = {};
  Json schema = nullptr;   // kJsonSchema
  bool is_strict = false;  // unknown keywords of the schema are an error
};

struct GenerationSettings {
  SamplingOptions sampling;                // without its seed
  std::optional<int64_t> seed = {};        // none: one is to be drawn
  std::optional<int64_t> max_tokens = {};  // none: what the context has left
  int64_t min_tokens = 0;
  bool ignore_eos = false;
  int64_t choices = 1;  // `n`
  std::vector<std::string> stops = {};
  std::vector<int32_t> stop_ids = {};
  int64_t top_logprobs = -1;  // -1: no log-probabilities are told; 0 to 20 alternatives
  ResponseFormat response_format = {};
  bool streams = false, includes_usage = false, includes_progress = false;
  ReuseMode reuse = ReuseMode::kExact;
  std::string cache_salt = {};
  double timeout = 0;  // seconds from admission

  IgnoredFields ignored = {};  // fields of the body that nobody knows
};

/// The settings before a request says anything.
GenerationSettings default_settings(const ServedModel& model);

/// What the engine is asked for in choice `choice` of a prompt: draws from seed + choice,
/// max_tokens clipped to what the context has left, stop_ids with `end_ids` before them unless
/// ignore_eos. `seed` is the request's or the one that was drawn for it. Throws ApiError
/// context_length_exceeded for a prompt of at least the context's length.
GenerateOptions generate_options(const GenerationSettings& settings, const ServedModel& model,
                                 int64_t prompt_tokens, std::span<const int32_t> end_ids,
                                 int64_t seed, int64_t choice);

/// Throws ApiError context_length_exceeded, with both numbers, for a prompt of at least the
/// context's length.
void check_context(int64_t prompt_tokens, const ServedModel& model);

/// A temperature of 0 to `most`; what is too small for the engine is 0.
double read_temperature(const Field& field, double most);

/// The rows that all of these endpoints share.
const Parameters<GenerationSettings>& shared_parameters();

/// Appends shared rows to those of a form that has `settings`; with `only`, those of these names.
template <class Form>
void add_shared(Parameters<Form>& parameters, std::span<const std::string_view> only = {}) {
  for (const auto& row : shared_parameters()) {
    if (!only.empty() && std::ranges::find(only, row.name) == only.end()) continue;
    parameters.push_back({row.name, row.type, row.fallback, row.text,
                          [&row](const Field& field, Form& form, const ParseContext& context) {
                            row.read(field, form.settings, context);
                          }});
  }
}

/// A row that is read and has no effect here.
template <class Form>
Parameter<Form> without_effect(const char* name) {
  return {name, "any", "none", "accepted without effect", [](const auto&...) {}};
}

/// The row of max_tokens, or of what is called otherwise.
template <class Form>
Parameter<Form> max_tokens_row(const char* name, int64_t least, const char* fallback,
                               const char* text) {
  const IntegerRange range{.least = least};
  return {name, concat("integer, ", range.text()), fallback, text,
          [range](const Field& field, Form& form, const auto&) {
            form.settings.max_tokens = read_integer(field, range);
          }};
}

/// What only shows when all fields are read: min_tokens over max_tokens, best_of other than n, and
/// stream_options without stream. Throws ApiError.
void check_settings_agree(const GenerationSettings& settings, const Json& body);

}  // namespace hypenet
