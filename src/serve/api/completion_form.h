// The request of /v1/completions: texts or ids that are gone on with.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "serve/api/generation_settings.h"

namespace hypenet {

using CompletionPrompt = std::variant<std::string, std::vector<int32_t>>;

struct CompletionRequest {
  GenerationSettings settings;                 // `logprobs` is its top_logprobs
  std::vector<CompletionPrompt> prompts = {};  // choice index = prompt x settings.choices + j
  bool echoes = false;
};

/// Throws ApiError as docs/serving-api.md has it.
CompletionRequest parse_completion_request(const Json& body, const ServedModel& model);

/// The rows of the page.
const Parameters<CompletionRequest>& completion_parameters();

}  // namespace hypenet
