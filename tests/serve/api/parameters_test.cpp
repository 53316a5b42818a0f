// Bodies as strangers send them, and each parameter's types and ranges.
#include "serve/api/parameters.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "serve/api/anthropic_form.h"
#include "serve/api/chat_form.h"
#include "serve/api/completion_form.h"
#include "tests/serve/fixture.h"
#include "tests/support/expect_error.h"

namespace hypenet {
namespace {

using ::testing::ElementsAre;

std::string refused_body(const std::string& body) {
  return refusal([&] { parse_body(body); });
}

TEST(Body, what_is_no_json_is_named) {
  for (const char* body :
       {"", " ", "{", "{\"a\": NaN}", "{\"a\": 1e999}", "{\"a\": Infinity}", R"({"a": "\ud800"})",
        "{\"a\": \"\xC3\"}", "{\"a\": \"\xFF\"}", "{} x", "{\"a\" 1}", "{'a': 1}"}) {
    EXPECT_EQ(refused_body(body), "400 invalid_json ") << body;
  }
  EXPECT_EQ(refused_body(std::string("{}\0{}", 5)), "400 invalid_json ");
  for (const char* body : {"[]", "\"x\"", "1", "null"}) {
    EXPECT_EQ(refused_body(body), "400 invalid_type ") << body;
  }
}

TEST(Body, nesting_is_bounded) {
  const auto nested = [](size_t depth) {
    return "{\"a\":" + std::string(depth, '[') + std::string(depth, ']') + "}";
  };
  EXPECT_EQ(refused_body(nested(63)), "accepted");
  EXPECT_EQ(refused_body(nested(64)), "400 invalid_json ");
  EXPECT_EQ(refused_body(nested(100'000)), "400 invalid_json ");
  EXPECT_ERROR(parse_body(nested(100'000)), "nesting over 64 deep at byte 69");
  EXPECT_EQ(refused_body(std::string(100'000, '{')), "400 invalid_json ");
}

TEST(Body, the_last_of_equal_keys_counts) {
  EXPECT_EQ(parse_body(R"({"a": 1, "b": 2, "a": 3})"), Json::parse(R"({"a": 3, "b": 2})"));
  std::string many = "{";
  for (int i = 0; i < 100; ++i) many += concat("\"", i % 50, "\": ", i, ", ");
  const Json json = parse_body(many + "\"x\": {}}");
  EXPECT_EQ(json.size(), 51);
  EXPECT_EQ(json["7"], 57);
}

/// Quadratic work would take hours here.
TEST(Body, a_million_keys_are_no_trouble) {
  std::string body = "{";
  for (int i = 0; i < 1'000'000; ++i) body += concat('"', i, "\":[],");
  body += R"("prompt":"x"})";
  const CompletionRequest request = parse_completion_request(parse_body(body), served_model());
  EXPECT_EQ(std::ssize(request.settings.ignored.names), IgnoredFields::kMost);
}

struct Case {
  const char* field;
  const char* value;
  const char* refusal;
};

/// What every endpoint of OpenAI's form has.
constexpr Case kShared[] = {
    {"model", "5", "400 invalid_type model"},
    {"model", "\"other\"", "404 model_not_found model"},
    {"model", "\"gpt-4o\"", "accepted"},
    {"max_tokens", "-5", "400 invalid_value max_tokens"},
    {"max_tokens", "\"5\"", "400 invalid_type max_tokens"},
    {"max_tokens", "true", "400 invalid_type max_tokens"},
    {"max_tokens", "5.5", "400 invalid_type max_tokens"},
    {"max_tokens", "5.0", "accepted"},
    {"max_tokens", "1e300", "400 invalid_value max_tokens"},
    {"max_tokens", "18446744073709551615", "400 invalid_value max_tokens"},
    {"max_tokens", "1000000000", "accepted"},
    {"max_tokens", "null", "accepted"},
    {"temperature", "-1", "400 invalid_value temperature"},
    {"temperature", "2.01", "400 invalid_value temperature"},
    {"temperature", "\"hot\"", "400 invalid_type temperature"},
    {"temperature", "[]", "400 invalid_type temperature"},
    {"temperature", "0", "accepted"},
    {"temperature", "2", "accepted"},
    {"top_p", "0", "400 invalid_value top_p"},
    {"top_p", "1.5", "400 invalid_value top_p"},
    {"top_p", "false", "400 invalid_type top_p"},
    {"top_p", "1", "accepted"},
    {"min_p", "-0.1", "400 invalid_value min_p"},
    {"min_p", "1.1", "400 invalid_value min_p"},
    {"min_p", "{}", "400 invalid_type min_p"},
    {"top_k", "-2", "400 invalid_value top_k"},
    {"top_k", "4294967296", "400 invalid_value top_k"},
    {"top_k", "1.5", "400 invalid_type top_k"},
    {"top_k", "-1", "accepted"},
    {"presence_penalty", "2.5", "400 invalid_value presence_penalty"},
    {"presence_penalty", "\"1\"", "400 invalid_type presence_penalty"},
    {"frequency_penalty", "-2.5", "400 invalid_value frequency_penalty"},
    {"frequency_penalty", "\"1\"", "400 invalid_type frequency_penalty"},
    {"repetition_penalty", "0", "400 invalid_value repetition_penalty"},
    {"repetition_penalty", "2.1", "400 invalid_value repetition_penalty"},
    {"repetition_penalty", "\"1\"", "400 invalid_type repetition_penalty"},
    {"seed", "1.5", "400 invalid_type seed"},
    {"seed", "\"1\"", "400 invalid_type seed"},
    {"seed", "9223372036854775808", "400 invalid_value seed"},
    {"seed", "-9223372036854775808", "accepted"},
    {"logit_bias", "[]", "400 invalid_type logit_bias"},
    {"logit_bias", R"({"1000": 1})", "400 invalid_value logit_bias"},
    {"logit_bias", R"({"1000000000": 1})", "400 invalid_value logit_bias"},
    {"logit_bias", R"({"-1": 1})", "400 invalid_value logit_bias"},
    {"logit_bias", R"({"1x": 1})", "400 invalid_value logit_bias"},
    {"logit_bias", R"({"": 1})", "400 invalid_value logit_bias"},
    {"logit_bias", R"({"1": 101})", "400 invalid_value logit_bias.1"},
    {"logit_bias", R"({"1": "x"})", "400 invalid_type logit_bias.1"},
    {"logit_bias", R"({"999": -100})", "accepted"},
    {"n", "0", "400 invalid_value n"},
    {"n", "17", "400 invalid_value n"},
    {"n", "1000000000", "400 invalid_value n"},
    {"n", "\"2\"", "400 invalid_type n"},
    {"n", "16", "accepted"},
    {"stop", "5", "400 invalid_type stop"},
    {"stop", "\"\"", "400 invalid_value stop"},
    {"stop", "[5]", "400 invalid_type stop[0]"},
    {"stop", R"(["a", ""])", "400 invalid_value stop[1]"},
    {"stop", R"(["a", "b"])", "accepted"},
    {"stop_token_ids", "[1000]", "400 invalid_value stop_token_ids[0]"},
    {"stop_token_ids", "[1, -1]", "400 invalid_value stop_token_ids[1]"},
    {"stop_token_ids", R"(["1"])", "400 invalid_type stop_token_ids[0]"},
    {"stop_token_ids", "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]", "400 invalid_value stop_token_ids"},
    {"ignore_eos", "1", "400 invalid_type ignore_eos"},
    {"min_tokens", "-1", "400 invalid_value min_tokens"},
    {"min_tokens", "0.5", "400 invalid_type min_tokens"},
    {"stream", "\"true\"", "400 invalid_type stream"},
    {"stream_options", "true", "400 invalid_type stream_options"},
    {"stream_options", R"({"include_usage": 1})", "400 invalid_type stream_options.include_usage"},
    {"stream_options", R"({"include_usage": true})", "400 invalid_value stream_options"},
    {"response_format", "\"json\"", "400 invalid_type response_format"},
    {"response_format", "{}", "400 missing_required_parameter response_format.type"},
    {"response_format", R"({"type": "xml"})", "400 invalid_value response_format.type"},
    {"response_format", R"({"type": "json_schema"})",
     "400 missing_required_parameter response_format.json_schema"},
    {"response_format", R"({"type": "json_schema", "json_schema": {"name": "x"}})",
     "400 missing_required_parameter response_format.json_schema.schema"},
    {"response_format", R"({"type": "json_schema", "json_schema": {"schema": []}})",
     "400 invalid_type response_format.json_schema.schema"},
    {"response_format", R"({"type": "json_schema", "json_schema": {"name": "a b", "schema": {}}})",
     "400 invalid_value response_format.json_schema.name"},
    {"response_format", R"({"type": "json_object"})", "accepted"},
    {"reuse", "\"all\"", "400 invalid_value reuse"},
    {"reuse", "true", "400 invalid_type reuse"},
    {"reuse", "\"nearest\"", "accepted"},
    {"cache_salt", "5", "400 invalid_type cache_salt"},
    {"timeout", "0", "400 invalid_value timeout"},
    {"timeout", "601", "400 invalid_value timeout"},
    {"timeout", "\"5\"", "400 invalid_type timeout"},
    {"best_of", "2", "400 unsupported_parameter best_of"},
    {"best_of", "1", "accepted"},
    {"suffix", "\"x\"", "400 unsupported_parameter suffix"},
    {"functions", "[]", "400 unsupported_parameter functions"},
    {"function_call", "\"auto\"", "400 unsupported_parameter function_call"},
    {"audio", "{}", "400 unsupported_parameter audio"},
    {"modalities", R"(["text", "audio"])", "400 unsupported_parameter modalities"},
    {"modalities", R"(["text"])", "accepted"},
    {"prediction", "{}", "400 unsupported_parameter prediction"},
    {"web_search_options", "{}", "400 unsupported_parameter web_search_options"},
    {"user", "5", "accepted"},
    {"metadata", "{}", "accepted"},
    {"nobody_knows", "5", "accepted"}};

constexpr Case kChat[] = {
    {"max_tokens", "0", "400 invalid_value max_tokens"},
    {"max_completion_tokens", "0", "400 invalid_value max_completion_tokens"},
    {"messages", "null", "400 missing_required_parameter messages"},
    {"messages", "[]", "400 invalid_value messages"},
    {"messages", "\"x\"", "400 invalid_type messages"},
    {"messages", "[5]", "400 invalid_type messages[0]"},
    {"messages", "[{}]", "400 missing_required_parameter messages[0].role"},
    {"messages", R"([{"role": "king", "content": "x"}])", "400 invalid_value messages[0].role"},
    {"messages", R"([{"role": "user"}])", "400 missing_required_parameter messages[0].content"},
    {"messages", R"([{"role": "assistant", "content": null}])",
     "400 missing_required_parameter messages[0].content"},
    {"messages", R"([{"role": "user", "content": 5}])", "400 invalid_type messages[0].content"},
    {"messages", R"([{"role": "user", "content": []}])", "400 invalid_value messages[0].content"},
    {"messages", R"([{"role": "user", "content": [{"type": "image_url"}]}])",
     "400 unsupported_parameter messages[0].content[0].type"},
    {"messages", R"([{"role": "user", "content": [{"type": "text"}]}])",
     "400 missing_required_parameter messages[0].content[0].text"},
    {"messages", R"([{"role": "user", "content": [{"type": "poem"}]}])",
     "400 invalid_value messages[0].content[0].type"},
    {"messages", R"([{"role": "assistant", "tool_calls": [{"function": {"name": "f"}}]}])",
     "400 missing_required_parameter messages[0].tool_calls[0].function.arguments"},
    {"messages", R"([{"role": "user", "content": "x", "cache_control": {"type": "forever"}}])",
     "400 invalid_value messages[0].cache_control.type"},
    {"logprobs", "1", "400 invalid_type logprobs"},
    {"top_logprobs", "21", "400 invalid_value top_logprobs"},
    {"top_logprobs", "-1", "400 invalid_value top_logprobs"},
    {"top_logprobs", "\"5\"", "400 invalid_type top_logprobs"},
    {"top_logprobs", "5", "400 invalid_value top_logprobs"},
    {"tools", "{}", "400 invalid_type tools"},
    {"tools", "[{}]", "400 missing_required_parameter tools[0].type"},
    {"tools", R"([{"type": "web_search"}])", "400 unsupported_parameter tools[0].type"},
    {"tools", R"([{"type": "function", "function": {"name": "a b"}}])",
     "400 invalid_value tools[0].function.name"},
    {"tools", R"([{"type": "function", "function": {"name": "f", "parameters": []}}])",
     "400 invalid_type tools[0].function.parameters"},
    {"tools", R"([{"type": "function", "function": {"name": "f"}},
                  {"type": "function", "function": {"name": "f"}}])",
     "400 invalid_value tools[1].function.name"},
    {"tools", "[]", "accepted"},
    {"tool_choice", "\"any\"", "400 invalid_value tool_choice"},
    {"tool_choice", "5", "400 invalid_type tool_choice"},
    {"tool_choice", "\"required\"", "400 invalid_value tool_choice"},
    {"tool_choice", R"({"type": "function", "function": {"name": "f"}})",
     "400 invalid_value tool_choice"},
    {"tool_choice", R"({"type": "allowed_tools"})", "400 unsupported_parameter tool_choice.type"},
    {"parallel_tool_calls", "\"no\"", "400 invalid_type parallel_tool_calls"},
    {"reasoning_effort", "\"huge\"", "400 invalid_value reasoning_effort"},
    {"reasoning_effort", "5", "400 invalid_type reasoning_effort"},
    {"chat_template_kwargs", "[]", "400 invalid_type chat_template_kwargs"},
    {"chat_template_kwargs", R"({"messages": []})",
     "400 unsupported_parameter chat_template_kwargs.messages"},
    {"continue_final_message", "1", "400 invalid_type continue_final_message"},
    {"continue_final_message", "true", "400 invalid_value continue_final_message"}};

constexpr Case kCompletion[] = {{"max_tokens", "0", "accepted"},
                                {"prompt", "null", "400 missing_required_parameter prompt"},
                                {"prompt", "\"\"", "400 invalid_value prompt"},
                                {"prompt", "[]", "400 invalid_value prompt"},
                                {"prompt", "5", "400 invalid_type prompt"},
                                {"prompt", "{}", "400 invalid_type prompt"},
                                {"prompt", R"(["a", ""])", "400 invalid_value prompt[1]"},
                                {"prompt", R"(["a", 5])", "400 invalid_type prompt[1]"},
                                {"prompt", R"([5, "a"])", "400 invalid_type prompt[1]"},
                                {"prompt", "[5, 1000]", "400 invalid_value prompt[1]"},
                                {"prompt", "[[5], []]", "400 invalid_value prompt[1]"},
                                {"prompt", "[[5], [1.5]]", "400 invalid_type prompt[1][0]"},
                                {"prompt", "[[5], \"a\"]", "400 invalid_type prompt[1]"},
                                {"prompt", "[null]", "400 invalid_type prompt[0]"},
                                {"prompt", "[[5, 6], [7.0]]", "accepted"},
                                {"echo", "1", "400 invalid_type echo"},
                                {"logprobs", "true", "400 invalid_type logprobs"},
                                {"logprobs", "21", "400 invalid_value logprobs"},
                                {"logprobs", "-1", "400 invalid_value logprobs"}};

constexpr Case kAnthropic[] = {
    {"max_tokens", "null", "400 missing_required_parameter max_tokens"},
    {"max_tokens", "0", "400 invalid_value max_tokens"},
    {"temperature", "1.5", "400 invalid_value temperature"},
    {"temperature", "\"hot\"", "400 invalid_type temperature"},
    {"top_p", "0", "400 invalid_value top_p"},
    {"top_k", "\"5\"", "400 invalid_type top_k"},
    {"model", "\"claude\"", "404 model_not_found model"},
    {"stream", "1", "400 invalid_type stream"},
    {"system", "5", "400 invalid_type system"},
    {"system", R"([{"type": "image"}])", "400 unsupported_parameter system[0].type"},
    {"stop_sequences", "\"x\"", "400 invalid_type stop_sequences"},
    {"stop_sequences", R"([""])", "400 invalid_value stop_sequences[0]"},
    {"thinking", "true", "400 invalid_type thinking"},
    {"thinking", R"({"type": "deep"})", "400 invalid_value thinking.type"},
    {"tools", R"([{"name": "f"}])", "400 missing_required_parameter tools[0].input_schema"},
    {"tools", R"([{"type": "bash_20250124", "name": "bash"}])",
     "400 unsupported_parameter tools[0].type"},
    {"tool_choice", R"({"type": "any"})", "400 invalid_value tool_choice"},
    {"tool_choice", R"({"type": "some"})", "400 invalid_value tool_choice.type"},
    {"output_config", R"({"format": {"type": "xml"}})",
     "400 invalid_value output_config.format.type"},
    {"output_config", R"({"format": {"type": "json_schema"}})",
     "400 missing_required_parameter output_config.format.schema"},
    {"output_config", R"({"format": {"type": "json_schema", "schema": {}}})", "accepted"},
    {"messages", R"([{"role": "tool", "content": "x"}])", "400 invalid_value messages[0].role"},
    {"messages", R"([{"role": "user", "content": [{"type": "image"}]}])",
     "400 unsupported_parameter messages[0].content[0].type"},
    {"messages", R"([{"role": "user", "content": [{"type": "tool_use"}]}])",
     "400 invalid_value messages[0].content[0].type"},
    {"messages", R"([{"role": "user", "content": [{"type": "tool_result"}]}])",
     "400 missing_required_parameter messages[0].content[0].tool_use_id"},
    {"messages", R"([{"role": "user", "content": []}])", "400 invalid_value messages"},
    {"cache_control", R"({"type": "x"})", "400 invalid_value cache_control.type"}};

/// Each case's field put into a body that is accepted without it.
void expect_refusals(std::span<const Case> cases, const Json& body,
                     const std::function<void(const Json&)>& parse) {
  for (const auto& [field, value, expected] : cases) {
    Json changed = body;
    changed[field] = Json::parse(value);
    const std::string found = refusal([&] { parse(parse_body(changed.dump())); });
    EXPECT_EQ(found, expected) << field << ": " << value;
  }
  EXPECT_EQ(refusal([&] { parse(body); }), "accepted");
}

const Json& chat_body() {
  static const Json body = {{"messages", {{{"role", "user"}, {"content", "Hi"}}}}};
  return body;
}

TEST(Parameters, wrong_types_and_ranges_are_refused_by_name) {
  const ServedModel model = served_model();
  const auto chat = [&](const Json& body) { parse_chat_request(body, model); };
  const auto completion = [&](const Json& body) { parse_completion_request(body, model); };
  const auto anthropic = [&](const Json& body) { parse_anthropic_request(body, model); };
  Json message = chat_body();
  message["max_tokens"] = 5;
  expect_refusals(kShared, chat_body(), chat);
  expect_refusals(kChat, chat_body(), chat);
  expect_refusals(kShared, {{"prompt", "Hi"}}, completion);
  expect_refusals(kCompletion, {{"prompt", "Hi"}}, completion);
  expect_refusals(kAnthropic, message, anthropic);
}

TEST(Parameters, a_million_stops_are_refused) {
  Json body = chat_body();
  body["stop"] = Json::array_t(1'000'000, "x");
  EXPECT_EQ(refusal([&] { parse_chat_request(body, served_model()); }), "400 invalid_value stop");
}

TEST(Parameters, messages_name_the_range_and_what_was_found) {
  Json body = chat_body();
  body["temperature"] = 3;
  EXPECT_ERROR(parse_chat_request(body, served_model()),
               "temperature: expected a number (0 to 2), found 3");
  body["temperature"] = "hot";
  EXPECT_ERROR(parse_chat_request(body, served_model()),
               "temperature: expected a number (0 to 2), found a string");
  body["temperature"] = 1;
  body["model"] = "other";
  EXPECT_ERROR(parse_chat_request(body, served_model()), "model: expected tiny, found \"other\"");
}

TEST(Parameters, unknown_fields_are_named) {
  const Json body = Json::parse(R"({
    "messages": [{"role": "user", "content": "Hi", "mood": 1}, {"role": "user", "content": "Ho", "mood": 1}],
    "user": "me", "typo": 5, "bad,name\n": 5, "stream": true, "stream_options": {"x": 1}})");
  const ChatRequest request = parse_chat_request(body, served_model());
  EXPECT_THAT(request.settings.ignored.names,
              ElementsAre("messages[].mood", "typo", "bad?name?", "stream_options.x"));
}

}  // namespace
}  // namespace hypenet
