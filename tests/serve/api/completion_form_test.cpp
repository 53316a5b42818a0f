// Completion requests and the small endpoints.
#include "serve/api/completion_form.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "serve/api/text_forms.h"
#include "tests/serve/fixture.h"

namespace hypenet {
namespace {

using ::testing::ElementsAre;
using Ids = std::vector<int32_t>;

CompletionRequest parse(const char* text) {
  return parse_completion_request(parse_body(text), served_model());
}

TEST(CompletionForm, prompts_are_texts_or_ids) {
  EXPECT_THAT(parse(R"({"prompt": "a"})").prompts, ElementsAre(CompletionPrompt("a")));
  EXPECT_THAT(parse(R"({"prompt": ["a", "b"]})").prompts,
              ElementsAre(CompletionPrompt("a"), CompletionPrompt("b")));
  EXPECT_THAT(parse(R"({"prompt": [1, 2.0]})").prompts, ElementsAre(CompletionPrompt(Ids{1, 2})));
  EXPECT_THAT(parse(R"({"prompt": [[1], [2, 3]]})").prompts,
              ElementsAre(CompletionPrompt(Ids{1}), CompletionPrompt(Ids{2, 3})));
  const Json body = {{"prompt", Json::array_t(65, "x")}};
  EXPECT_EQ(refusal([&] { parse_completion_request(body, served_model()); }),
            "400 invalid_value prompt");
}

TEST(CompletionForm, echo_and_logprobs) {
  const CompletionRequest request =
      parse(R"({"prompt": "a", "echo": true, "logprobs": 0, "max_tokens": 0, "stream": null})");
  EXPECT_TRUE(request.echoes);
  EXPECT_EQ(request.settings.top_logprobs, 0);
  EXPECT_EQ(request.settings.max_tokens, 0);
}

TEST(TextForms, tokenize_and_detokenize) {
  const ServedModel model = served_model();
  const auto tokenize = [&](const char* text) {
    return parse_tokenize_request(parse_body(text), model);
  };
  EXPECT_EQ(std::get<std::string>(tokenize(R"({"prompt": "a"})").input), "a");
  const TokenizeRequest content =
      tokenize(R"({"content": "b", "add_special_tokens": true, "return_token_strs": true})");
  EXPECT_EQ(std::get<std::string>(content.input), "b");
  EXPECT_TRUE(content.adds_special_tokens && content.returns_token_texts);
  const TokenizeRequest chat = tokenize(
      R"({"messages": [{"role": "user", "content": "x"}], "return_token_strs": true, "y": 1})");
  EXPECT_THAT(std::get<ChatRequest>(chat.input).settings.ignored.names, ElementsAre("y"));
  EXPECT_EQ(refusal([&] { tokenize("{}"); }), "400 missing_required_parameter prompt");
  EXPECT_EQ(refusal([&] { tokenize(R"({"content": 5})"); }), "400 invalid_type content");
  EXPECT_EQ(
      tokenize_answer(Ids{1, 2}, std::nullopt, model),
      Json::parse(R"({"count": 2, "max_model_len": 4096, "tokens": [1, 2], "token_strs": null})"));
  EXPECT_EQ(body_text(tokenize_answer(Ids{1}, {{"\xC3"}}, model)),
            "{\"count\":1,\"max_model_len\":4096,\"tokens\":[1],\"token_strs\":[\"\uFFFD\"]}");
  EXPECT_EQ(parse_detokenize_request(parse_body(R"({"tokens": [5, 6]})"), model), (Ids{5, 6}));
  EXPECT_EQ(refusal([&] { parse_detokenize_request(parse_body(R"({"tokens": [1000]})"), model); }),
            "400 invalid_value tokens[0]");
  EXPECT_EQ(detokenize_answer("x"), Json::parse(R"({"prompt": "x", "content": "x"})"));
}

TEST(TextForms, models) {
  ServedModel model = served_model();
  EXPECT_EQ(model_answer(model, "tiny"), Json::parse(R"({"id": "tiny", "object": "model",
    "created": 1700000000, "owned_by": "hypenet", "max_model_len": 4096,
    "trained_model_len": null})"));
  model.trained_length = 2048;
  EXPECT_EQ(model_answer(model, "tiny")["max_model_len"], 4096);
  EXPECT_EQ(model_answer(model, "tiny")["trained_model_len"], 2048);
  EXPECT_EQ(models_answer(model)["data"].size(), 2);
  EXPECT_EQ(models_answer(model)["object"], "list");
  EXPECT_EQ(refusal([&] { model_answer(model, "other"); }), "404 model_not_found model");
  EXPECT_EQ(apply_template_answer("x", 1), Json::parse(R"({"prompt": "x", "tokens_count": 1})"));
  EXPECT_EQ(count_tokens_answer(5), Json::parse(R"({"input_tokens": 5})"));
}

TEST(ApiErrors, have_the_shapes_of_both_clients) {
  const ApiError error("queue_full", "too many");
  EXPECT_EQ(
      body_text(openai_error(error)),
      R"({"error":{"message":"too many","type":"rate_limit_error","param":null,"code":"queue_full"}})");
  EXPECT_EQ(body_text(anthropic_error(error)),
            R"({"type":"error","error":{"type":"rate_limit_error","message":"too many"}})");
  EXPECT_EQ(openai_error(ApiError("invalid_type", "x", "n"))["error"]["param"], "n");
  EXPECT_EQ(ApiError("invalid_api_key", "x").status(), 401);
  EXPECT_EQ(ApiError(ErrorCode::of("no such code"), "x").status(), 500);
  EXPECT_EQ(ApiError(ErrorCode::of("no_space"), "x").type(), "server_error");
}

}  // namespace
}  // namespace hypenet
