// From what a caller asks for, as plain values, to the engine's requests.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/json.h"
#include "python/loaded_model.h"

namespace hypenet {

/// A prompt is text, or token ids.
using Prompt = std::variant<std::string, std::vector<int32_t>>;

struct GenerateSettings {
  std::map<std::string, double> sampling = {};  // those that are given, by SamplingOptions' keys
  std::vector<std::pair<int32_t, float>> logit_bias = {};
  uint64_t seed = 0;
  int64_t max_tokens = 128, min_tokens = 0, top_logprobs = 0;
  bool ignores_eos = false;  // no token ends an answer
};

/// Each prompt as it stands; temperature 0 where none is given. Throws Error naming the setting
/// that is impossible, and one that chooses among tokens where the temperature is 0.
std::vector<Request> text_requests(LoadedModel& model, const std::vector<Prompt>& prompts,
                                   const GenerateSettings& settings);

/// A conversation's next turn; settings that are not given are those of the folder's
/// generation_config.json. Throws Error also as TextSide::encode_chat does.
Request chat_request(LoadedModel& model, const Json& messages, const Json& options,
                     const GenerateSettings& settings);

}  // namespace hypenet
