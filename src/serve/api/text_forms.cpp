// The small endpoints' bodies.
#include "serve/api/text_forms.h"

namespace hypenet {

TokenizeRequest parse_tokenize_request(const Json& body, const ServedModel& model) {
  TokenizeRequest request;
  const Field top{body, ""};
  if (const auto specials = top.find("add_special_tokens")) {
    request.adds_special_tokens = read_boolean(*specials);
  }
  if (const auto texts = top.find("return_token_strs")) {
    request.returns_token_texts = read_boolean(*texts);
  }
  if (top.find("messages")) {
    ChatRequest chat = parse_chat_request(body, model);
    std::erase(chat.settings.ignored.names, "add_special_tokens");
    std::erase(chat.settings.ignored.names, "return_token_strs");
    request.input = std::move(chat);
    return request;
  }
  const auto content = top.find("content");
  request.input = read_string(content ? *content : required(top, "prompt"));
  return request;
}

Json tokenize_answer(std::span<const int32_t> ids,
                     const std::optional<std::vector<std::string>>& texts,
                     const ServedModel& model) {
  return {{"count", ids.size()},
          {"max_model_len", model.context_length},
          {"tokens", ids},
          {"token_strs", texts ? Json(*texts) : Json(nullptr)}};
}

std::vector<int32_t> parse_detokenize_request(const Json& body, const ServedModel& model) {
  return read_ids(required({body, ""}, "tokens"), {.least = 0}, model.vocab_size);
}

Json detokenize_answer(const std::string& text) { return {{"prompt", text}, {"content", text}}; }

Json apply_template_answer(const std::string& prompt, int64_t tokens) {
  return {{"prompt", prompt}, {"tokens_count", tokens}};
}

Json count_tokens_answer(int64_t tokens) { return {{"input_tokens", tokens}}; }

namespace {

Json model_entry(const ServedModel& model, const std::string& id) {
  return {{"id", id},
          {"object", "model"},
          {"created", model.created},
          {"owned_by", "hypenet"},
          {"max_model_len", model.context_length},
          {"trained_model_len", model.trained_length > 0 ? Json(model.trained_length) : Json()}};
}

}  // namespace

Json models_answer(const ServedModel& model) {
  Json entries = Json::array({model_entry(model, model.name)});
  for (const std::string& alias : model.aliases) entries.push_back(model_entry(model, alias));
  return {{"object", "list"}, {"data", std::move(entries)}};
}

Json model_answer(const ServedModel& model, const std::string& id) {
  if (model.serves(id)) return model_entry(model, id);
  throw ApiError("model_not_found", concat("model: expected ", model.name, ", found \"", id, '"'),
                 "model");
}

}  // namespace hypenet
