// The service as a client sees it: routes, answers, streams, refusals, the end.
#include "serve/service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>

#include "base/files.h"
#include "tests/serve/running_service.h"

namespace hypenet {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

constexpr const char* kChat = "/v1/chat/completions";

std::string code_of(const HttpAnswer& answer) {
  const Json json = answer.json();
  return json.is_object() && json.contains("error") ? json["error"].value("code", "") : "";
}

/// The content that a stream adds up to.
std::string streamed_content(const HttpAnswer& answer) {
  std::string content;
  for (const Json& event : answer.events()) {
    for (const Json& choice : event.value("choices", Json::array())) {
      const Json& delta = choice["delta"];
      if (delta.contains("content") && delta["content"].is_string()) {
        content += delta["content"].get<std::string>();
      }
    }
  }
  return content;
}

TEST(ServiceTest, small_endpoints_answer) {
  const RunningService running;
  const int port = running.port();
  EXPECT_EQ(ask(port, "GET", "/health").json()["status"], "ok");
  const Json models = ask(port, "GET", "/v1/models").json();
  EXPECT_EQ(models["data"][0]["id"], "tiny");
  EXPECT_EQ(models["data"][0]["max_model_len"], 2048);
  EXPECT_EQ(ask(port, "GET", "/v1/models/tiny").status, 200);
  EXPECT_EQ(code_of(ask(port, "GET", "/v1/models/other")), "model_not_found");
  const HttpAnswer page = ask(port, "GET", "/");
  EXPECT_THAT(page.head, HasSubstr("text/html"));
  EXPECT_THAT(page.header("Content-Security-Policy"), HasSubstr("sha256-"));
  EXPECT_EQ(post(port, "/tokenize", {{"prompt", "ab"}}).json()["tokens"], Json({97, 98}));
  EXPECT_EQ(post(port, "/detokenize", {{"tokens", {97, 98}}}).json()["content"], "ab");
  EXPECT_THAT(post(port, "/apply-template", chat_body("hi", 1)).json()["prompt"],
              "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(ask(port, "GET", "/v1/status").json()["model"], "tiny");
}

TEST(ServiceTest, wrong_paths_methods_and_bodies_are_refused_in_openais_form) {
  const RunningService running;
  const int port = running.port();
  EXPECT_EQ(code_of(ask(port, "GET", "/v1/embeddings")), "unknown_url");
  const HttpAnswer method = ask(port, "GET", kChat);
  EXPECT_EQ(method.status, 405);
  EXPECT_EQ(method.header("Allow"), "POST");
  EXPECT_EQ(code_of(ask(port, "POST", kChat, "{")), "invalid_json");
  EXPECT_EQ(code_of(ask(port, "POST", kChat, "[]")), "invalid_type");
  const HttpAnswer range =
      post(port, kChat, {{"messages", chat_body("a", 1)["messages"]}, {"temperature", 3}});
  EXPECT_EQ(range.status, 400);
  EXPECT_EQ(range.json()["error"]["param"], "temperature");
  EXPECT_EQ(code_of(post(port, kChat, chat_body(std::string(4000, 'a'), 1))),
            "context_length_exceeded");
}

TEST(ServiceTest, a_stream_adds_up_to_the_whole_answer) {
  const RunningService running;
  for (const double temperature : {0.0, 1.0}) {
    Json body = chat_body("What is it?", 40);
    body["temperature"] = temperature, body["seed"] = 7, body["logprobs"] = true;
    const HttpAnswer whole = post(running.port(), kChat, body);
    ASSERT_EQ(whole.status, 200) << whole.body;
    const Json json = whole.json();
    EXPECT_EQ(json["usage"]["completion_tokens"], 40);
    EXPECT_EQ(json["choices"][0]["finish_reason"], "length");
    body["stream"] = true, body["stream_options"] = {{"include_usage", true}};
    const HttpAnswer stream = post(running.port(), kChat, body);
    EXPECT_THAT(stream.head, HasSubstr("text/event-stream"));
    EXPECT_THAT(stream.body, EndsWith("data: [DONE]\n\n"));
    EXPECT_EQ(streamed_content(stream), json["choices"][0]["message"]["content"]);
    EXPECT_EQ(stream.events().back()["usage"]["completion_tokens"], 40);
  }
}

TEST(ServiceTest, n_choices_are_n_requests_with_the_seeds_that_follow) {
  const RunningService running;
  Json body = chat_body("Say something", 24);
  body["temperature"] = 1, body["seed"] = 100, body["n"] = 3;
  const Json all = post(running.port(), kChat, body).json();
  ASSERT_EQ(all["choices"].size(), 3U) << all.dump();
  body["n"] = 1;
  for (int j = 0; j < 3; ++j) {
    body["seed"] = 100 + j;
    EXPECT_EQ(post(running.port(), kChat, body).json()["choices"][0]["message"]["content"],
              all["choices"][static_cast<size_t>(j)]["message"]["content"])
        << j;
  }
  EXPECT_NE(all["choices"][0]["message"]["content"], all["choices"][1]["message"]["content"]);
}

TEST(ServiceTest, a_stop_string_cuts_the_text) {
  const RunningService running;
  const Json body = {{"prompt", "one two"}, {"max_tokens", 60}, {"temperature", 0}};
  const std::string whole =
      post(running.port(), "/v1/completions", body).json()["choices"][0]["text"];
  ASSERT_GT(whole.size(), 20U);
  // An untrained model writes any bytes: a stop is sought where two are of ASCII.
  const auto is_plain = [](unsigned char c) { return c >= 0x20 && c < 0x7F; };
  size_t at = 4;
  while (at + 2 < whole.size() && !std::all_of(&whole[at], &whole[at] + 2, is_plain)) ++at;
  ASSERT_LT(at + 2, whole.size());
  const std::string stop = whole.substr(at, 2);
  Json stopped = body;
  stopped["stop"] = stop;
  const Json answer = post(running.port(), "/v1/completions", stopped).json();
  EXPECT_EQ(answer["choices"][0]["text"], whole.substr(0, whole.find(stop)));
  EXPECT_EQ(answer["choices"][0]["finish_reason"], "stop");
}

TEST(ServiceTest, an_echo_has_the_prompts_log_probabilities) {
  const RunningService running;
  const Json answer = post(running.port(), "/v1/completions",
                           {{"prompt", "abcd"}, {"max_tokens", 0}, {"echo", true}, {"logprobs", 0}})
                          .json();
  const Json& choice = answer["choices"][0];
  EXPECT_EQ(choice["text"], "abcd") << answer.dump();
  ASSERT_EQ(choice["logprobs"]["token_logprobs"].size(), 4U);
  EXPECT_TRUE(choice["logprobs"]["token_logprobs"][0].is_null());
  EXPECT_LT(choice["logprobs"]["token_logprobs"][1].get<double>(), 0);
}

TEST(ServiceTest, anthropics_form_is_answered_in_kind) {
  const RunningService running;
  const Json body = {{"model", "tiny"},
                     {"max_tokens", 12},
                     {"messages", Json::array({{{"role", "user"}, {"content", "hello"}}})}};
  const Json answer = post(running.port(), "/v1/messages", body).json();
  EXPECT_EQ(answer["type"], "message") << answer.dump();
  EXPECT_EQ(answer["stop_reason"], "max_tokens");
  EXPECT_EQ(answer["usage"]["output_tokens"], 12);
  EXPECT_TRUE(answer["seed"].is_number_integer());
  const HttpAnswer refused = post(running.port(), "/v1/messages", {{"messages", Json::array()}});
  EXPECT_EQ(refused.status, 400);
  EXPECT_EQ(refused.json()["type"], "error");
  EXPECT_GT(post(running.port(), "/v1/messages/count_tokens", body).json()["input_tokens"], 5);
}

TEST(ServiceTest, a_client_that_hangs_up_frees_its_slot) {
  const RunningService running;
  {
    RawClient client(running.port());
    Json body = chat_body("Tell me a long story", 2000);
    body["stream"] = true;
    client.send(request_bytes("POST", kChat, body.dump()));
    EXPECT_THAT(client.receive("data: "), HasSubstr("200"));
    EXPECT_TRUE(running.comes_to("hypenet_num_requests_running", 1));
  }
  EXPECT_TRUE(running.comes_to("hypenet_num_requests_running", 0));
  EXPECT_TRUE(running.comes_to("hypenet_state_slots_used", 0));
  EXPECT_THAT(running.log(), testing::Contains(HasSubstr("finish=abort")));
}

TEST(ServiceTest, a_full_queue_refuses_and_says_when_to_come_again) {
  RunningService::Setting setting;
  setting.engine.max_sequences = 1;
  setting.service.limits.queue = 1;
  const RunningService running(setting);
  RawClient first(running.port()), second(running.port());
  Json body = chat_body("Tell me a long story", 1900);
  body["stream"] = true;
  for (RawClient* client : {&first, &second}) {
    client->send(request_bytes("POST", kChat, body.dump()));
    client->receive("\r\n\r\n");
  }
  const HttpAnswer refused = post(running.port(), kChat, chat_body("me too", 1));
  EXPECT_EQ(refused.status, 429) << refused.body;
  EXPECT_EQ(code_of(refused), "queue_full");
  EXPECT_GE(std::stoi(refused.header("Retry-After")), 1);
}

TEST(ServiceTest, a_second_turn_reads_only_what_is_new) {
  const RunningService running;
  const Json first = post(running.port(), kChat, chat_body(std::string(400, 'x'), 8)).json();
  EXPECT_EQ(first["usage"]["prompt_tokens_details"]["cached_tokens"], 0);
  Json body = chat_body(std::string(400, 'x'), 8);
  body["messages"].push_back(first["choices"][0]["message"]);
  body["messages"].push_back({{"role", "user"}, {"content", "go on"}});
  body["messages"][1].erase("refusal");
  const Json second = post(running.port(), kChat, body).json();
  const int64_t cached = second["usage"]["prompt_tokens_details"]["cached_tokens"];
  EXPECT_GT(cached, 384) << second.dump();
  EXPECT_EQ(second["timings"]["snapshot_position"], cached);
  body["reuse"] = "off";
  const Json anew = post(running.port(), kChat, body).json();
  EXPECT_EQ(anew["usage"]["prompt_tokens_details"]["cached_tokens"], 0);
  EXPECT_EQ(anew["choices"][0]["message"]["content"], second["choices"][0]["message"]["content"]);
}

TEST(ServiceTest, the_rate_of_decoding_is_of_the_tokens_behind_the_first) {
  const RunningService running;
  for (const int64_t most : {1, 2, 8}) {
    const Json answer = post(running.port(), kChat, chat_body("hi", most)).json();
    const Json& timings = answer["timings"];
    const double behind = answer["usage"]["completion_tokens"].get<double>() - 1;
    const double rate = timings["decode_per_second"].get<double>();
    const double seconds = timings["decode_ms"].get<double>() / 1e3;  // to a tenth of a millisecond
    EXPECT_NEAR(rate * seconds, behind, rate * 6e-5) << answer.dump();
  }
}

TEST(ServiceTest, keys_open_all_but_health_and_the_page) {
  const TemporaryFolder folder;
  write_file(folder / "keys", "alice:sesame\n");
  RunningService::Setting setting;
  setting.service.key_file = folder / "keys";
  RunningService running(setting);
  const int port = running.port();
  EXPECT_EQ(ask(port, "GET", "/health").status, 200);
  EXPECT_EQ(ask(port, "GET", "/").status, 200);
  const HttpAnswer refused = ask(port, "GET", "/v1/models");
  EXPECT_EQ(refused.status, 401);
  EXPECT_EQ(refused.header("WWW-Authenticate"), "Bearer");
  EXPECT_EQ(ask(port, "GET", "/v1/models", "", "Authorization: Bearer sesame\r\n").status, 200);
  write_file(folder / "keys", "bob:other\n");
  running.service().reload_keys();
  EXPECT_EQ(ask(port, "GET", "/v1/models", "", "x-api-key: other\r\n").status, 200);
  EXPECT_EQ(ask(port, "GET", "/v1/models", "", "x-api-key: sesame\r\n").status, 401);
}

TEST(ServiceTest, unknown_fields_are_named_and_ids_are_the_clients) {
  const RunningService running;
  Json body = chat_body("hi", 1);
  body["no_such_field"] = 1;
  const HttpAnswer answer = post(running.port(), kChat, body, "x-request-id: mine-1\r\n");
  EXPECT_EQ(answer.header("x-ignored-params"), "no_such_field");
  EXPECT_EQ(answer.header("x-request-id"), "mine-1");
  EXPECT_THAT(ask(running.port(), "GET", "/health").header("x-request-id"), StartsWith("req-"));
}

TEST(ServiceTest, a_stop_lets_running_answers_end_and_refuses_new_ones) {
  RunningService running;
  Json body = chat_body("Tell me", 300);
  const int port = running.port();
  auto answer = std::async(std::launch::async, [&] { return post(port, kChat, body); });
  ASSERT_TRUE(running.comes_to("hypenet_num_requests_running", 1));
  running.service().stop();
  const HttpAnswer refused = post(port, kChat, body);
  EXPECT_TRUE(refused.status == 503 || refused.status == 0) << refused.body;
  EXPECT_EQ(answer.get().json()["usage"]["completion_tokens"], 300);
  running.stop();
}

TEST(ServiceTest, what_does_not_end_by_the_drain_ends_with_what_it_has) {
  RunningService::Setting setting;
  setting.service.drain_seconds = 0.1;
  setting.engine.max_context = 100'000;
  RunningService running(setting);
  const int port = running.port();
  auto answer = std::async(std::launch::async,
                           [&] { return post(port, kChat, chat_body("Tell me", 90'000)); });
  ASSERT_TRUE(running.comes_to("hypenet_num_requests_running", 1));
  running.stop();
  const Json json = answer.get().json();
  EXPECT_EQ(json["choices"][0]["finish_reason"], "length") << json.dump();
  EXPECT_LT(json["usage"]["completion_tokens"], 90'000);
}

TEST(ServiceTest, several_engines_share_the_work) {
  RunningService::Setting setting;
  setting.engines = 2;
  const RunningService running(setting);
  std::vector<std::future<HttpAnswer>> answers;
  for (int i = 0; i < 6; ++i) {
    answers.push_back(std::async(std::launch::async, [&, i] {
      return post(running.port(), kChat,
                  chat_body(std::string(300, static_cast<char>('a' + i)), 20));
    }));
  }
  for (auto& answer : answers) EXPECT_EQ(answer.get().status, 200);
  const Json status = ask(running.port(), "GET", "/v1/status").json();
  ASSERT_EQ(status["engines"].size(), 2U);
  for (const Json& engine : status["engines"]) EXPECT_GT(engine["decoded_tokens"], 0);
}

TEST(ServiceTest, a_grammar_that_is_over_ends_the_answer_whatever_keeps_the_end_away) {
  if (!GrammarCompiler::is_built_in()) GTEST_SKIP() << "built without xgrammar";
  const RunningService running;
  Json body = chat_body("x", 60);
  body["response_format"] = {{"type", "json_schema"},
                             {"json_schema", {{"name", "x"}, {"schema", {{"const", 1}}}}}};
  for (const char* field : {"ignore_eos", "min_tokens"}) {
    Json asked = body;
    asked[field] = field == std::string_view("min_tokens") ? Json(50) : Json(true);
    const HttpAnswer answer = post(running.port(), kChat, asked);
    ASSERT_EQ(answer.status, 200) << answer.body;
    EXPECT_EQ(answer.json()["choices"][0]["message"]["content"], "1");
    EXPECT_EQ(answer.json()["choices"][0]["finish_reason"], "stop");
  }
}

TEST(ServiceTest, a_text_that_is_far_too_long_is_refused_before_it_is_tokenized) {
  const RunningService running;
  const HttpAnswer answer = post(running.port(), "/v1/completions",
                                 {{"prompt", std::string(2049 * 16, 'a')}, {"max_tokens", 1}});
  EXPECT_EQ(code_of(answer), "context_length_exceeded");
  EXPECT_THAT(answer.body, HasSubstr("found at least 2049"));
}

TEST(ServiceTest, so_is_a_conversation) {
  const RunningService running;
  for (const char* path : {kChat, "/v1/messages"}) {
    const HttpAnswer answer = post(running.port(), path, chat_body(std::string(2049 * 16, 'a'), 1));
    EXPECT_EQ(answer.status, 400);
    EXPECT_THAT(answer.body, HasSubstr("messages: expected below 2048 tokens, found at least 20"));
  }
}

TEST(ServiceTest, each_step_is_counted) {
  const RunningService running;
  post(running.port(), kChat, chat_body("hello", 12));
  const double steps = running.metric("hypenet_step_seconds_count");
  EXPECT_GE(steps, 11);  // the first token comes with the prompt's
  EXPECT_EQ(running.metric("hypenet_iteration_tokens_total_count"), steps);
  EXPECT_EQ(running.metric("hypenet_iteration_tokens_total_sum"),
            running.metric("hypenet_prompt_tokens_computed_total") +
                running.metric("hypenet_generation_tokens_total"));
}

TEST(ServiceTest, nobody_finds_texts_in_the_log) {
  const RunningService running;
  post(running.port(), kChat, chat_body("a secret", 4));
  ASSERT_FALSE(running.log().empty());
  for (const std::string& line : running.log()) EXPECT_THAT(line, Not(HasSubstr("secret")));
}

TEST(ServiceTest, texts_are_in_the_log_where_they_are_asked_for) {
  RunningService::Setting setting;
  setting.service.limits.tells_texts = true;
  const RunningService running(setting);
  post(running.port(), kChat, chat_body("a secret", 4));
  EXPECT_THAT(running.log(), testing::Contains(HasSubstr("a secret")));
  EXPECT_THAT(ask(running.port(), "GET", "/v1/status").body, Not(HasSubstr("secret")));
}

}  // namespace
}  // namespace hypenet
