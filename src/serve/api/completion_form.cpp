// The rows of a completion request.
#include "serve/api/completion_form.h"

namespace hypenet {
namespace {

constexpr int64_t kMostPrompts = 64, kMostAlternatives = 20;
constexpr IntegerRange kNotEmpty{.least = 1};

void read_prompt(const Field& field, CompletionRequest& request, const ParseContext& context) {
  const int64_t vocab_size = context.model.vocab_size;
  request.prompts.clear();
  if (field.value.is_string()) {
    request.prompts.emplace_back(read_string(field, kNotEmpty));
    return;
  }
  if (!field.value.is_array()) {
    fail_type(field, "a string, an array of strings, of token ids or of arrays of token ids");
  }
  const Json& items = read_array(field, kNotEmpty);
  if (items[0].is_number()) {
    request.prompts.emplace_back(read_ids(field, kNotEmpty, vocab_size));
    return;
  }
  read_array(field, {1, kMostPrompts});
  const bool has_texts = items[0].is_string();
  for (size_t i = 0; i < items.size(); ++i) {
    const Field item = field.item(i);
    if (has_texts) {
      request.prompts.emplace_back(read_string(item, kNotEmpty));
    } else {
      request.prompts.emplace_back(read_ids(item, kNotEmpty, vocab_size));
    }
  }
}

Parameters<CompletionRequest> make_rows() {
  Parameters<CompletionRequest> rows;
  rows.push_back(
      {"prompt",
       concat("string, array of strings, of token ids, or of arrays of token ids; up to ",
              kMostPrompts, " prompts"),
       "required", "what is gone on with; choice index = prompt x `n` + j", read_prompt});
  rows.push_back(max_tokens_row<CompletionRequest>(
      "max_tokens", 0, "what the context has left",
      "of the answer; more is clipped to what is left, 0 only scores the prompt with `echo`"));
  add_shared(rows);
  rows.push_back({"echo", "boolean", "false",
                  "the answer begins with the prompt, with `logprobs` also its tokens'",
                  [](const Field& field, CompletionRequest& request, const auto&) {
                    request.echoes = read_boolean(field);
                  }});
  rows.push_back({"logprobs", concat("integer, 0 to ", kMostAlternatives), "none",
                  "tell each token's log-probability, and those of so many likeliest tokens",
                  [](const Field& field, CompletionRequest& request, const auto&) {
                    request.settings.top_logprobs = read_integer(field, {0, kMostAlternatives});
                  }});
  return rows;
}

}  // namespace

const Parameters<CompletionRequest>& completion_parameters() {
  static const Parameters<CompletionRequest> rows = make_rows();
  return rows;
}

CompletionRequest parse_completion_request(const Json& body, const ServedModel& model) {
  CompletionRequest request{.settings = default_settings(model)};
  required({body, ""}, "prompt");
  read_parameters(body, completion_parameters(), request, {model, request.settings.ignored});
  check_settings_agree(request.settings, body);
  return request;
}

}  // namespace hypenet
