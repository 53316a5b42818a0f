// The small endpoints: models, tokenize, detokenize, apply-template and count_tokens.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "serve/api/chat_form.h"

namespace hypenet {

struct TokenizeRequest {
  std::variant<std::string, ChatRequest> input;  // a text, or a conversation for the template
  bool adds_special_tokens = false;
  bool returns_token_texts = false;
};

/// {"prompt"}, {"content"} or {"messages", ...}. Throws ApiError.
TokenizeRequest parse_tokenize_request(const Json& body, const ServedModel& model);

/// {"count","max_model_len","tokens","token_strs"}; token_strs is null without `texts`, which may
/// hold bytes that are no UTF-8 alone (U+FFFD).
Json tokenize_answer(std::span<const int32_t> ids,
                     const std::optional<std::vector<std::string>>& texts,
                     const ServedModel& model);

/// The ids of {"tokens":[int]}. Throws ApiError, also for ids outside the vocabulary.
std::vector<int32_t> parse_detokenize_request(const Json& body, const ServedModel& model);

/// {"prompt","content"}: the same text twice.
Json detokenize_answer(const std::string& text);

/// {"prompt","tokens_count"}. The request is a chat request.
Json apply_template_answer(const std::string& prompt, int64_t tokens);

/// {"input_tokens"}, Anthropic's.
Json count_tokens_answer(int64_t tokens);

/// GET /v1/models.
Json models_answer(const ServedModel& model);

/// GET /v1/models/{id}. Throws ApiError model_not_found.
Json model_answer(const ServedModel& model, const std::string& id);

}  // namespace hypenet
