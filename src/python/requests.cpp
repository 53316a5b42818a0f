// Settings go through the same checks as the program's flags.
#include "python/requests.h"

#include <cmath>
#include <type_traits>

#include "base/error.h"
#include "engine/generation_config.h"
#include "text/chat_prompt.h"

namespace hypenet {
namespace {

std::string own_name(const char* key) { return key; }

SamplingOptions sampling_of(const GenerateSettings& settings, const SamplingOptions& defaults) {
  SamplingOptions options = defaults;
  SamplingOptions::visit([&](const char* key, auto member, auto, const OptionAbout&) {
    const auto given = settings.sampling.find(key);
    if (given == settings.sampling.end()) return;
    using Value = std::decay_t<decltype(options.*member)>;
    if constexpr (std::is_integral_v<Value>) {
      HYPENET_CHECK(given->second == std::floor(given->second) && std::abs(given->second) < 1e15,
                    key, ": expected an integer, found ", given->second);
    }
    options.*member = static_cast<Value>(given->second);
  });
  options.seed = settings.seed;
  options.logit_bias = settings.logit_bias;
  check_settings(options, own_name);
  if (options.temperature > 0) return options;
  const SamplingOptions plain;
  SamplingOptions::visit([&](const char* key, auto member, auto, const OptionAbout& about) {
    HYPENET_CHECK(
        !about.chooses || !settings.sampling.contains(key) || options.*member == plain.*member, key,
        ": has no effect at temperature 0, which takes the likeliest token; with a ",
        "temperature above 0 it has one");
  });
  return options;
}

GenerateOptions options_of(const GenerateSettings& settings, const SamplingOptions& defaults,
                           std::vector<int32_t> stop_ids) {
  HYPENET_CHECK(settings.max_tokens >= 1, "max_tokens: expected at least 1, found ",
                settings.max_tokens);
  HYPENET_CHECK(settings.min_tokens >= 0, "min_tokens: expected at least 0, found ",
                settings.min_tokens);
  HYPENET_CHECK(settings.top_logprobs >= 0 && settings.top_logprobs <= GenerateOptions::kMostTop,
                "top_logprobs: expected 0 to ", GenerateOptions::kMostTop, ", found ",
                settings.top_logprobs);
  GenerateOptions options;
  options.max_tokens = settings.max_tokens;
  options.min_tokens = settings.min_tokens;
  options.top_logprobs = settings.top_logprobs;
  options.sampling = sampling_of(settings, defaults);
  if (!settings.ignores_eos) options.stop_ids = std::move(stop_ids);
  return options;
}

std::vector<PromptMark> marks_of(const EncodedPrompt& prompt) {
  std::vector<PromptMark> marks;
  for (const auto& [position, kind] : prompt.borders) {
    marks.push_back({position, kind == PromptBorder::Kind::kSystemEnd ? PromptMark::Kind::kSystemEnd
                                                                      : PromptMark::Kind::kTurn});
  }
  return marks;
}

}  // namespace

std::vector<Request> text_requests(LoadedModel& model, const std::vector<Prompt>& prompts,
                                   const GenerateSettings& settings) {
  const GenerateOptions options = options_of(settings, {}, model.text()->stop_ids(false));
  std::vector<Request> requests;
  requests.reserve(prompts.size());
  for (const Prompt& prompt : prompts) {
    const auto* const text = std::get_if<std::string>(&prompt);
    requests.push_back({text != nullptr ? model.text()->tokenizer().encode(*text)
                                        : std::get<std::vector<int32_t>>(prompt),
                        options});
    HYPENET_CHECK(!requests.back().prompt.empty(),
                  "prompt: expected at least one token, found none");
  }
  return requests;
}

Request chat_request(LoadedModel& model, const Json& messages, const Json& options,
                     const GenerateSettings& settings) {
  EncodedPrompt prompt = model.text()->encode_chat(messages, options, false);
  const SamplingOptions defaults = read_generation_config(model.about().folder, {});
  Request request{prompt.ids, options_of(settings, defaults, model.text()->stop_ids(true))};
  request.marks = marks_of(prompt);
  return request;
}

}  // namespace hypenet
