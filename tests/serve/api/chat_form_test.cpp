// Chat requests: what templates, engine and cache are given.
#include "serve/api/chat_form.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "serve/api/anthropic_form.h"
#include "tests/serve/fixture.h"
#include "tests/support/expect_error.h"

namespace hypenet {
namespace {

using ::testing::ElementsAre;

ChatRequest parse(const char* text, const ServedModel& model = served_model()) {
  return parse_chat_request(parse_body(text), model);
}

ChatRequest parse_anthropic(const char* text) {
  return parse_anthropic_request(parse_body(text), served_model());
}

std::vector<std::pair<int64_t, int64_t>> marks(const ChatRequest& request) {
  std::vector<std::pair<int64_t, int64_t>> found;
  for (const auto& [message, end] : request.marks) found.emplace_back(message, end);
  return found;
}

TEST(ChatForm, messages_are_as_templates_read_them) {
  const ChatRequest request = parse(R"({"messages": [
    {"role": "developer", "content": [{"type": "text", "text": "Be "}, {"type": "text", "text": "brief."}]},
    {"role": "user", "content": "Weather?", "name": "Ann"},
    {"role": "assistant", "content": null, "reasoning": "I must call.", "refusal": null,
     "tool_calls": [{"id": "call_1", "index": 0, "type": "function",
                     "function": {"name": "weather", "arguments": "{\"city\": \"Bonn\", \"days\": 1.0}"}}]},
    {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
    {"role": "assistant", "content": "", "tool_calls": [
      {"function": {"name": "weather", "arguments": "{\"city\": \"Bo"}}]}]})");
  EXPECT_EQ(request.messages, Json::parse(R"([
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Weather?", "name": "Ann"},
    {"role": "assistant", "content": "", "reasoning_content": "I must call.",
     "tool_calls": [{"type": "function",
                     "function": {"name": "weather", "arguments": {"city": "Bonn", "days": 1.0}},
                     "id": "call_1"}]},
    {"role": "tool", "content": "rain", "tool_call_id": "call_1"},
    {"role": "assistant", "content": "", "tool_calls": [
      {"type": "function", "function": {"name": "weather", "arguments": "{\"city\": \"Bo"}}]}])"));
  EXPECT_TRUE(request.settings.ignored.names.empty());
}

TEST(ChatForm, a_call_without_arguments_has_none) {
  const ChatRequest request = parse(R"({"messages": [{"role": "user", "content": "?"},
    {"role": "assistant", "tool_calls": [{"function": {"name": "now", "arguments": ""}}]}]})");
  EXPECT_EQ(request.messages[1]["tool_calls"][0]["function"]["arguments"], Json::object());
}

TEST(ChatForm, marks_are_ends_in_joined_contents) {
  const char* const mark = R"("cache_control": {"type": "ephemeral"})";
  const ChatRequest request = parse(concat(R"({"messages": [
    {"role": "system", "content": [{"type": "text", "text": "Grüße", )",
                                           mark, R"(},
                                   {"type": "text", "text": "abc"}]},
    {"role": "user", "content": "Hi", )",
                                           mark, "}]}")
                                        .c_str());
  EXPECT_THAT(marks(request), ElementsAre(std::pair(0, 7), std::pair(1, 2)));
  Json many = {{"messages", Json::array()}};
  for (int i = 0; i < 17; ++i) {
    many["messages"].push_back(
        {{"role", "user"}, {"content", "x"}, {"cache_control", {{"type", "ephemeral"}}}});
  }
  EXPECT_EQ(refusal([&] { parse_chat_request(many, served_model()); }),
            "400 invalid_value messages");
}

TEST(ChatForm, settings_are_the_servers_unless_told) {
  const GenerationSettings defaults =
      parse(R"({"messages": [{"role": "user", "content": ""}]})").settings;
  EXPECT_EQ(defaults.sampling.temperature, 0.6);
  EXPECT_EQ(defaults.sampling.top_k, 20);
  EXPECT_EQ(defaults.sampling.top_p, 0.95);
  EXPECT_EQ(defaults.timeout, 600);
  EXPECT_EQ(defaults.choices, 1);
  EXPECT_EQ(defaults.top_logprobs, -1);
  EXPECT_FALSE(defaults.max_tokens || defaults.seed || defaults.streams);
  const GenerationSettings told = parse(R"({"messages": [{"role": "user", "content": ""}],
    "temperature": 0, "top_k": -1, "top_p": 1e-30, "min_p": 0.5, "presence_penalty": 1,
    "frequency_penalty": -1, "repetition_penalty": 1.5, "seed": -7, "n": 2, "min_tokens": 3,
    "max_completion_tokens": 8, "max_tokens": 5, "stop": "END", "stop_token_ids": [5],
    "ignore_eos": true, "logit_bias": {"7": -100, "07": 1.5}, "stream": true,
    "stream_options": {"include_usage": true, "include_progress": true}, "logprobs": true,
    "top_logprobs": 20, "reuse": "off", "cache_salt": "me", "timeout": 2.5,
    "response_format": {"type": "json_schema", "json_schema": {"name": "n", "strict": true, "schema": {"a": 1}}}
    })")
                                      .settings;
  EXPECT_EQ(told.sampling.temperature, 0);
  EXPECT_EQ(told.sampling.top_k, 0);
  EXPECT_EQ(told.sampling.top_p, 1e-6);
  EXPECT_EQ(told.sampling.min_p, 0.5);
  EXPECT_EQ(told.sampling.presence_penalty, 1);
  EXPECT_EQ(told.sampling.frequency_penalty, -1);
  EXPECT_EQ(told.sampling.repetition_penalty, 1.5);
  EXPECT_THAT(told.sampling.logit_bias, ElementsAre(std::pair(7, -100.F), std::pair(7, 1.5F)));
  EXPECT_EQ(told.seed, -7);
  EXPECT_EQ(told.choices, 2);
  EXPECT_EQ(told.max_tokens, 8);
  EXPECT_THAT(told.stops, ElementsAre("END"));
  EXPECT_TRUE(told.streams && told.includes_usage && told.includes_progress);
  EXPECT_EQ(told.top_logprobs, 20);
  EXPECT_EQ(told.reuse, ReuseMode::kOff);
  EXPECT_EQ(told.cache_salt, "me");
  EXPECT_EQ(told.timeout, 2.5);
  EXPECT_EQ(told.response_format.kind, ResponseFormat::Kind::kJsonSchema);
  EXPECT_TRUE(told.response_format.is_strict);
  EXPECT_EQ(told.response_format.schema, (Json{{"a", 1}}));
}

TEST(ChatForm, no_request_takes_the_place_of_a_keys_salt) {
  ServedModel model = served_model();
  model.cache_salt = "ann";
  const char* const body =
      R"({"messages": [{"role": "user", "content": ""}], "cache_salt": "bob"})";
  EXPECT_EQ(parse(body, model).settings.cache_salt, "ann\nbob");
}

TEST(ChatForm, the_engine_gets_what_the_context_has_left) {
  const ServedModel model = served_model();
  GenerationSettings settings = default_settings(model);
  settings.stop_ids = {5};
  settings.min_tokens = 2;
  settings.top_logprobs = 3;
  const std::vector<int32_t> ends = {1, 2};
  const GenerateOptions options = generate_options(settings, model, 4000, ends, -1, 3);
  EXPECT_EQ(options.max_tokens, 96);
  EXPECT_EQ(options.min_tokens, 2);
  EXPECT_EQ(options.top_logprobs, 3);
  EXPECT_EQ(options.sampling.seed, 2);
  EXPECT_THAT(options.stop_ids, ElementsAre(5, 1, 2));
  settings.max_tokens = 10;
  settings.ignore_eos = true;
  EXPECT_EQ(generate_options(settings, model, 4000, ends, 0, 0).max_tokens, 10);
  EXPECT_THAT(generate_options(settings, model, 4000, ends, 0, 0).stop_ids, ElementsAre(5));
  EXPECT_EQ(generate_options(settings, model, 4095, ends, 0, 0).max_tokens, 1);
  EXPECT_EQ(refusal([&] { generate_options(settings, model, 4096, ends, 0, 0); }),
            "400 context_length_exceeded ");
  EXPECT_ERROR(check_context(5000, model), "less than the context's 4096 tokens, found 5000");
}

TEST(ChatForm, min_tokens_are_within_max_tokens) {
  const char* const body =
      R"({"messages": [{"role": "user", "content": ""}], "min_tokens": 6, "max_tokens": 5})";
  EXPECT_EQ(refusal([&] { parse(body); }), "400 invalid_value min_tokens");
}

TEST(ChatForm, tools_and_their_choice) {
  using Kind = ToolChoice::Kind;
  const auto with = [](const char* more) {
    return parse(concat(R"({"messages": [{"role": "user", "content": ""}], "tools": [
      {"type": "function", "function": {"name": "f", "description": "d", "strict": true,
                                        "parameters": {"type": "object"}}}])",
                        more, "}")
                     .c_str());
  };
  EXPECT_EQ(with("").tool_choice.kind, Kind::kAuto);
  EXPECT_EQ(with("").tools, Json::parse(R"([{"type": "function", "function": {
    "name": "f", "description": "d", "parameters": {"type": "object"}, "strict": true}}])"));
  EXPECT_EQ(chat_options(with("")).tools.size(), 1);
  EXPECT_TRUE(chat_options(with(R"(, "tool_choice": "none")")).tools.is_null());
  EXPECT_EQ(with(R"(, "tool_choice": "required")").tool_choice.kind, Kind::kRequired);
  const ToolChoice named =
      with(R"(, "tool_choice": {"type": "function", "function": {"name": "f"}})").tool_choice;
  EXPECT_EQ(named.kind, Kind::kNamed);
  EXPECT_EQ(named.name, "f");
  EXPECT_EQ(
      refusal([&] { with(R"(, "tool_choice": {"type": "function", "function": {"name": "g"}})"); }),
      "400 invalid_value tool_choice");
  EXPECT_EQ(
      parse(
          R"({"messages": [{"role": "user", "content": ""}], "tools": [], "tool_choice": "auto"})")
          .tool_choice.kind,
      Kind::kNone);
}

TEST(ChatForm, thinking_is_the_templates_unless_told) {
  const auto options = [](const char* more) {
    return chat_options(
        parse(concat(R"({"messages": [{"role": "user", "content": ""}])", more, "}").c_str()));
  };
  EXPECT_FALSE(options("").enable_thinking.has_value());
  EXPECT_EQ(options(R"(, "reasoning_effort": "none")").enable_thinking, false);
  EXPECT_EQ(options(R"(, "reasoning_effort": "low")").enable_thinking, true);
  EXPECT_EQ(options(R"(, "reasoning_effort": "low")").variables,
            (Json{{"reasoning_effort", "low"}}));
  const ChatOptions told = options(
      R"(, "chat_template_kwargs": {"enable_thinking": false, "x": 1}, "reasoning_effort": "high")");
  EXPECT_EQ(told.enable_thinking, false);
  EXPECT_EQ(told.variables, (Json{{"reasoning_effort", "high"}, {"x", 1}}));
}

TEST(ChatForm, the_last_message_is_gone_on_with) {
  const ChatRequest request = parse(R"({"continue_final_message": true, "messages": [
    {"role": "user", "content": ""}, {"role": "assistant", "content": "Once"}]})");
  EXPECT_TRUE(chat_options(request).continue_final_message);
  EXPECT_FALSE(chat_options(request).add_generation_prompt);
}

TEST(AnthropicForm, blocks_become_messages) {
  const ChatRequest request = parse_anthropic(R"({"max_tokens": 9, "messages": [
    {"role": "user", "content": [{"type": "text", "text": "Weather"}, {"type": "text", "text": "?"}]},
    {"role": "system", "content": "Hurry."}, {"role": "assistant", "content": [
      {"type": "thinking", "thinking": "Call.", "signature": ""}, {"type": "text", "text": "Wait."},
      {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"city": "Bonn"}}]},
    {"role": "user", "content": [
      {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "rain"}]},
      {"type": "tool_result", "tool_use_id": "toolu_2", "is_error": true},
      {"type": "text", "text": "And?"}]}],
    "system": [{"type": "text", "text": "x-anthropic-billing-header: 1"}, {"type": "text", "text": "Be brief."}],
    "stop_sequences": ["END"], "temperature": 1, "thinking": {"type": "enabled", "budget_tokens": 2000},
    "tools": [{"name": "f", "description": "d", "input_schema": {"type": "object"}}],
    "tool_choice": {"type": "any", "disable_parallel_tool_use": true},
    "metadata": {"user_id": "me"}, "context_management": {}})");
  EXPECT_EQ(request.messages, Json::parse(R"([
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Weather?"}, {"role": "system", "content": "Hurry."},
    {"role": "assistant", "content": "Wait.", "reasoning_content": "Call.", "tool_calls": [
      {"id": "toolu_1", "type": "function", "function": {"name": "f", "arguments": {"city": "Bonn"}}}]},
    {"role": "tool", "content": "rain", "tool_call_id": "toolu_1"},
    {"role": "tool", "content": "", "tool_call_id": "toolu_2"},
    {"role": "user", "content": "And?"}])"));
  EXPECT_EQ(request.left_out_blocks, 1);
  EXPECT_EQ(request.settings.max_tokens, 9);
  EXPECT_EQ(request.settings.sampling.temperature, 1);
  EXPECT_THAT(request.settings.stops, ElementsAre("END"));
  EXPECT_EQ(request.enable_thinking, true);
  EXPECT_EQ(request.tools, Json::parse(R"([{"type": "function", "function": {
    "name": "f", "description": "d", "parameters": {"type": "object"}}}])"));
  EXPECT_EQ(request.tool_choice.kind, ToolChoice::Kind::kRequired);
  EXPECT_FALSE(request.parallel_tool_calls);
  EXPECT_FALSE(request.continues_final_message);
  EXPECT_THAT(request.settings.ignored.names,
              ElementsAre("thinking.budget_tokens", "context_management"));
}

TEST(AnthropicForm, marks_and_the_beginning_of_an_answer) {
  const ChatRequest request = parse_anthropic(R"({"max_tokens": 9, "messages": [
    {"role": "user", "content": [
      {"type": "tool_result", "tool_use_id": "t", "content": "rain", "cache_control": {"type": "ephemeral", "ttl": "5m"}},
      {"type": "text", "text": "ab", "cache_control": {"type": "ephemeral"}}, {"type": "text", "text": "c"}]},
    {"role": "assistant", "content": "It"}],
    "cache_control": {"type": "ephemeral"},
    "system": [{"type": "text", "text": "xyz", "cache_control": {"type": "ephemeral"}}]})");
  EXPECT_THAT(marks(request),
              ElementsAre(std::pair(0, 3), std::pair(1, 4), std::pair(2, 2), std::pair(3, 2)));
  EXPECT_TRUE(request.continues_final_message);
  EXPECT_TRUE(request.settings.ignored.names.empty());
}

TEST(AnthropicForm, counting_needs_no_max_tokens) {
  const Json body = parse_body(R"({"messages": [{"role": "user", "content": "x"}]})");
  EXPECT_NO_THROW(parse_anthropic_request(body, served_model(), false));
  EXPECT_EQ(refusal([&] { parse_anthropic_request(body, served_model()); }),
            "400 missing_required_parameter max_tokens");
}

}  // namespace
}  // namespace hypenet
