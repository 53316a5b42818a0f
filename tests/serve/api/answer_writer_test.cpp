// Answers against the texts that clients expect, and streams against whole answers.
#include "serve/api/answer_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/serve/api/collected_stream.h"
#include "tests/serve/fixture.h"
#include "text/unicode.h"

namespace hypenet {
namespace {

using Kind = AnswerDelta::Kind;

AnswerHead head(AnswerForm form) {
  Random random(1);
  return {.id = answer_id(form, random),
          .created = 1'700'000'000,
          .model = "tiny",
          .fingerprint = "hn-0123456789ab",
          .seed = -7,
          .prompt_tokens = 9};
}

constexpr Usage kUsage{.prompt_tokens = 9,
                       .completion_tokens = 4,
                       .cached_tokens = 5,
                       .kept_tokens = 2,
                       .reasoning_tokens = 1};

AnswerDelta text_delta(Kind kind, const std::string& text) { return {.kind = kind, .text = text}; }

/// A token of these bytes with one alternative, a token of the tiny tokenizer.
AnswerToken token(const std::string& bytes, float logprob, float other = -2.5F) {
  const int32_t id = tiny_tokenizer().encode("a").front();
  return {{.id = 1, .logprob = logprob, .top = {{id, other}}}, bytes};
}

std::unique_ptr<AnswerWriter> writer(AnswerForm form, bool streams, AnswerHead head) {
  return answer_writer(form, streams, std::move(head), tiny_tokenizer(), Random(2));
}

/// The answer without what is drawn.
Json without_ids(Json answer) {
  answer.erase("id");
  for (Json& choice : answer["choices"]) {
    if (!choice.contains("message") || !choice["message"].contains("tool_calls")) continue;
    for (Json& call : choice["message"]["tool_calls"]) {
      EXPECT_TRUE(call["id"].get<std::string>().starts_with("call_"));
      call.erase("id");
    }
  }
  return answer;
}

TEST(AnswerWriter, ids_are_of_their_form) {
  Random random(3);
  const std::string id = answer_id(AnswerForm::kChat, random);
  EXPECT_EQ(id.size(), std::string("chatcmpl-").size() + 24);
  EXPECT_TRUE(id.starts_with("chatcmpl-"));
  EXPECT_NE(id, answer_id(AnswerForm::kChat, random));
  EXPECT_TRUE(answer_id(AnswerForm::kCompletion, random).starts_with("cmpl-"));
  EXPECT_TRUE(answer_id(AnswerForm::kAnthropic, random).starts_with("msg_"));
}

TEST(ChatAnswer, whole_with_thought_and_calls) {
  const auto chat = writer(AnswerForm::kChat, false, head(AnswerForm::kChat));
  std::string bytes = chat->begin(0) + chat->delta(0, text_delta(Kind::kReasoning, "Hm"));
  bytes += chat->delta(0, text_delta(Kind::kReasoning, "m."));
  bytes += chat->delta(0, {.kind = Kind::kToolCall, .tool_index = 0, .tool_name = "f"});
  bytes += chat->delta(0, {.kind = Kind::kToolArguments, .text = "{\"a\"", .tool_index = 0});
  bytes += chat->delta(0, {.kind = Kind::kToolArguments, .text = ": 1}", .tool_index = 0});
  bytes += chat->end(0, FinishReason::kStop, "");
  EXPECT_EQ(bytes, "");
  const Json answer = Json::parse(chat->finish(kUsage, {.queue_ms = 1.23456, .reuse_tier = "gpu"}));
  EXPECT_EQ(without_ids(answer), Json::parse(R"({
    "object": "chat.completion", "created": 1700000000, "model": "tiny",
    "system_fingerprint": "hn-0123456789ab", "seed": -7,
    "choices": [{"index": 0, "message": {"role": "assistant", "content": null, "refusal": null,
      "reasoning_content": "Hmm.", "tool_calls": [
        {"type": "function", "function": {"name": "f", "arguments": "{\"a\": 1}"}}]},
      "logprobs": null, "finish_reason": "tool_calls"}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13,
      "prompt_tokens_details": {"cached_tokens": 5}, "completion_tokens_details": {"reasoning_tokens": 1}},
    "timings": {"queue_ms": 1.235, "prompt_ms": 0.0, "prompt_per_second": 0.0, "first_token_ms": 0.0,
      "decode_ms": 0.0, "decode_per_second": 0.0, "reused_tokens": 0, "reuse_tier": "gpu",
      "reuse_mode": "exact", "snapshot_position": 0}})"));
}

TEST(ChatAnswer, logprobs_have_true_bytes_and_shortest_numbers) {
  AnswerHead asked = head(AnswerForm::kChat);
  asked.top_logprobs = 1;
  const auto chat = writer(AnswerForm::kChat, false, asked);
  const float never = -std::numeric_limits<float>::infinity();
  chat->begin(0);
  chat->delta(0, {.text = "é", .tokens = {token("\xC3", -0.1F), token("\xA9", -1.F, never)}});
  chat->end(0, FinishReason::kLength, "");
  const std::string answer = chat->finish(kUsage, {});
  EXPECT_EQ(Json::parse(answer)["choices"][0]["logprobs"], Json::parse(R"({"content": [
    {"token": "\uFFFD", "logprob": -0.1, "bytes": [195], "top_logprobs": [
      {"token": "a", "logprob": -2.5, "bytes": [97]}]},
    {"token": "\uFFFD", "logprob": -1.0, "bytes": [169], "top_logprobs": [
      {"token": "a", "logprob": -9999.0, "bytes": [97]}]}], "refusal": null})"));
  EXPECT_THAT(answer, ::testing::HasSubstr("\"logprob\":-0.1,"));
  EXPECT_THAT(answer, ::testing::HasSubstr("\"finish_reason\":\"length\""));
}

TEST(ChatAnswer, stream_is_events_of_one_line) {
  const auto chat = writer(AnswerForm::kChat, true, head(AnswerForm::kChat));
  Random random(1);
  const std::string before =
      concat("data: {\"id\":\"", answer_id(AnswerForm::kChat, random),
             "\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"tiny\","
             "\"system_fingerprint\":\"hn-0123456789ab\",\"choices\":[{\"index\":0,\"delta\":");
  const std::string after = ",\"logprobs\":null,\"finish_reason\":null}]}\n\n";
  EXPECT_EQ(chat->begin(0), before + R"({"role":"assistant","content":""})" + after);
  EXPECT_EQ(chat->delta(0, text_delta(Kind::kContent, "a\n\"\x01é")),
            before + R"({"content":"a\n\"\u0001é"})" + after);
  EXPECT_EQ(chat->delta(0, text_delta(Kind::kReasoning, "b")),
            before + R"({"reasoning_content":"b"})" + after);
  EXPECT_EQ(chat->delta(0, {}), "");
  EXPECT_EQ(chat->delta(0, {.kind = Kind::kToolArguments, .text = "{", .tool_index = 1}),
            before + R"({"tool_calls":[{"index":1,"function":{"arguments":"{"}}]})" + after);
  EXPECT_EQ(chat->end(0, FinishReason::kStop, ""),
            before + "{},\"logprobs\":null,\"finish_reason\":\"stop\"}],\"seed\":-7}\n\n");
  EXPECT_EQ(chat->progress({.processed = 1}), "");
  EXPECT_EQ(chat->finish(kUsage, {}), "data: [DONE]\n\n");
  EXPECT_EQ(chat->error(ApiError("model_error", "no")),
            "data: {\"error\":{\"message\":\"no\",\"type\":\"server_error\",\"param\":null,"
            "\"code\":\"model_error\"}}\n\n");
}

TEST(ChatAnswer, stream_tells_usage_and_progress_when_asked) {
  AnswerHead asked = head(AnswerForm::kChat);
  asked.includes_usage = asked.includes_progress = true;
  const auto chat = writer(AnswerForm::kChat, true, asked);
  const std::vector<SentEvent> events = read_events(
      chat->progress({.processed = 3, .cached = 2, .total = 9, .ms = 1.5}) + chat->begin(0) +
      chat->end(0, FinishReason::kStop, "") + chat->finish(kUsage, {}));
  ASSERT_EQ(events.size(), 5);
  const Json progress = Json::parse(events[0].data);
  EXPECT_EQ(progress["choices"], Json::array());
  EXPECT_EQ(progress["prompt_progress"],
            Json::parse(R"({"processed": 3, "cached": 2, "total": 9, "ms": 1.5})"));
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(Json::parse(events[i].data).at("usage").is_null());
  const Json last = Json::parse(events[3].data);
  EXPECT_EQ(last["choices"], Json::array());
  EXPECT_EQ(last["usage"]["total_tokens"], 13);
  EXPECT_EQ(last["timings"]["reuse_tier"], "none");
  EXPECT_EQ(events[4].data, "[DONE]");
}

TEST(CompletionAnswer, echo_has_offsets_in_characters) {
  AnswerHead asked = head(AnswerForm::kCompletion);
  asked.top_logprobs = 1;
  const auto completion = writer(AnswerForm::kCompletion, false, asked);
  completion->begin(0);
  AnswerToken first = token("é", std::nanf(""));
  completion->delta(0, {.text = "éb", .tokens = {first, token("b", -1.F)}});
  AnswerToken twice = token("\xE2\x82", -0.5F);
  twice.event.top.push_back({twice.event.top[0].id, -9.F});  // of the same text
  completion->delta(0, {.text = "€!", .tokens = {twice, token("\xAC", -0.25F), token("!", -3.F)}});
  completion->end(0, FinishReason::kStop, "");
  Json answer = Json::parse(completion->finish(kUsage, {}));
  EXPECT_EQ(answer["object"], "text_completion");
  EXPECT_EQ(answer["choices"], Json::parse(R"([{"index": 0, "text": "éb€!", "logprobs": {
    "tokens": ["é", "b", "\uFFFD", "\uFFFD", "!"],
    "token_logprobs": [null, -1.0, -0.5, -0.25, -3.0],
    "top_logprobs": [null, {"a": -2.5}, {"a": -2.5}, {"a": -2.5}, {"a": -2.5}],
    "text_offset": [0, 1, 2, 2, 3]}, "finish_reason": "stop"}])"));
}

TEST(CompletionAnswer, without_alternatives_top_is_null) {
  AnswerHead asked = head(AnswerForm::kCompletion);
  asked.top_logprobs = 0;
  const auto completion = writer(AnswerForm::kCompletion, true, asked);
  EXPECT_EQ(completion->begin(0), "");
  const auto events =
      read_events(completion->delta(0, {.text = "x", .tokens = {token("x", -1.F)}}));
  ASSERT_EQ(events.size(), 1);
  EXPECT_EQ(Json::parse(events[0].data)["choices"][0], Json::parse(R"({"index": 0, "text": "x",
    "logprobs": {"tokens": ["x"], "token_logprobs": [-1.0], "top_logprobs": null, "text_offset": [0]},
    "finish_reason": null})"));
}

TEST(AnthropicAnswer, stream_is_blocks) {
  const auto message = writer(AnswerForm::kAnthropic, true, head(AnswerForm::kAnthropic));
  std::string bytes = message->begin(0);
  bytes += message->delta(0, text_delta(Kind::kReasoning, "Hm"));
  bytes += message->delta(0, text_delta(Kind::kContent, "a"));
  bytes += message->delta(0, text_delta(Kind::kContent, "b"));
  bytes += message->delta(0, {.kind = Kind::kToolCall, .tool_index = 0, .tool_name = "f"});
  bytes += message->delta(0, {.kind = Kind::kToolArguments, .text = "{}", .tool_index = 0});
  bytes += message->end(0, FinishReason::kStop, "");
  bytes += message->finish(kUsage, {});
  std::string names;
  const std::vector<SentEvent> events = read_events(bytes);
  for (const auto& [name, data] : events) {
    names += name + " ";
    EXPECT_EQ(Json::parse(data)["type"], name);
  }
  EXPECT_EQ(names,
            "message_start ping content_block_start content_block_delta content_block_stop "
            "content_block_start content_block_delta content_block_delta content_block_stop "
            "content_block_start content_block_delta content_block_stop message_delta "
            "message_stop ");
  EXPECT_EQ(Json::parse(events[0].data)["message"]["usage"]["input_tokens"], 9);
  EXPECT_EQ(Json::parse(events[2].data), Json::parse(R"({"type": "content_block_start", "index": 0,
    "content_block": {"type": "thinking", "thinking": "", "signature": ""}})"));
  EXPECT_EQ(Json::parse(events[10].data), Json::parse(R"({"type": "content_block_delta", "index": 2,
    "delta": {"type": "input_json_delta", "partial_json": "{}"}})"));
  EXPECT_EQ(Json::parse(events[12].data), Json::parse(R"({"type": "message_delta",
    "delta": {"stop_reason": "tool_use", "stop_sequence": null}, "usage": {"input_tokens": 4,
      "cache_creation_input_tokens": 2, "cache_read_input_tokens": 5, "output_tokens": 4,
      "output_tokens_details": {"thinking_tokens": 1}}})"));
}

TEST(AnthropicAnswer, stop_reasons) {
  const auto stopped = [](FinishReason reason, const std::string& stop) {
    const auto message = writer(AnswerForm::kAnthropic, false, head(AnswerForm::kAnthropic));
    message->begin(0);
    message->end(0, reason, stop);
    const Json answer = Json::parse(message->finish(kUsage, {}));
    EXPECT_EQ(answer["content"], Json::array());
    return concat(answer["stop_reason"].get<std::string>(), " ", answer["stop_sequence"].dump());
  };
  EXPECT_EQ(stopped(FinishReason::kStop, ""), "end_turn null");
  EXPECT_EQ(stopped(FinishReason::kStop, "END"), "stop_sequence \"END\"");
  EXPECT_EQ(stopped(FinishReason::kLength, ""), "max_tokens null");
  EXPECT_EQ(stopped(FinishReason::kCancelled, ""), "max_tokens null");
  const auto whole = writer(AnswerForm::kAnthropic, false, head(AnswerForm::kAnthropic));
  EXPECT_EQ(whole->error(ApiError("loading", "wait")),
            R"({"type":"error","error":{"type":"overloaded_error","message":"wait"}})");
}

/// A random answer: what each choice is told, in order.
std::vector<std::pair<int64_t, AnswerDelta>> random_deltas(Random& random, int64_t choices,
                                                           bool only_text) {
  constexpr const char* kTexts[] = {"a", "\n\n", "é", "\xF0\x9F\x98\x80", "\"\\", "</think>", ""};
  constexpr float kLogprobs[] = {-0.1F, -1e-8F, 0.F, -33.333333F,
                                 -std::numeric_limits<float>::infinity()};
  std::vector<std::pair<int64_t, AnswerDelta>> deltas;
  std::vector<int64_t> calls(static_cast<size_t>(choices), 0);
  const int64_t count = random.below(40);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t choice = random.below(choices);
    int64_t& called = calls[static_cast<size_t>(choice)];
    AnswerDelta delta{.text = kTexts[random.below(std::ssize(kTexts))]};
    const int64_t kind = only_text ? 0 : random.below(4);
    if (kind == 0) {
      for (const char byte : delta.text) {
        delta.tokens.push_back(
            token({byte}, kLogprobs[random.below(5)], kLogprobs[random.below(5)]));
      }
    } else if (kind == 1) {
      delta.kind = Kind::kReasoning;
    } else if (kind == 2) {
      delta = {.kind = Kind::kToolCall, .tool_index = called++, .tool_name = "f"};
      deltas.emplace_back(choice, delta);
      delta = {.kind = Kind::kToolArguments, .text = "{\"x\": 1}", .tool_index = called - 1};
    }
    if (kind < 3) deltas.emplace_back(choice, delta);
  }
  return deltas;
}

/// Everything of an answer, told to a writer.
std::string told(AnswerWriter& writer, int64_t choices,
                 const std::vector<std::pair<int64_t, AnswerDelta>>& deltas) {
  constexpr FinishReason kEnds[] = {FinishReason::kStop, FinishReason::kLength};
  std::string bytes;
  for (int64_t i = 0; i < choices; ++i) bytes += writer.begin(i);
  for (const auto& [choice, delta] : deltas) bytes += writer.delta(choice, delta);
  for (int64_t i = choices - 1; i >= 0; --i) bytes += writer.end(i, kEnds[i % 2], "");
  return bytes + writer.finish(kUsage, {.queue_ms = 2});
}

TEST(AnswerWriter, a_collected_stream_is_the_whole_answer) {
  using Collect = Json (*)(const std::string&);
  constexpr std::pair<AnswerForm, Collect> kForms[] = {
      {AnswerForm::kChat, collect_chat},
      {AnswerForm::kCompletion, collect_completion},
      {AnswerForm::kAnthropic, collect_anthropic}};
  Random random(7);
  for (int round = 0; round < 300; ++round) {
    for (const auto& [form, collect] : kForms) {
      AnswerHead asked = head(form);
      asked.choices = form == AnswerForm::kAnthropic ? 1 : 1 + random.below(3);
      asked.top_logprobs = random.below(3) - 1;
      asked.includes_usage = true;
      const auto deltas = random_deltas(random, asked.choices, form == AnswerForm::kCompletion);
      const std::string whole = told(*writer(form, false, asked), asked.choices, deltas);
      const std::string stream = told(*writer(form, true, asked), asked.choices, deltas);
      EXPECT_TRUE(is_utf8(stream));
      // In any order of members.
      using Unordered = nlohmann::json;
      ASSERT_EQ(Unordered::parse(collect(stream).dump()), Unordered::parse(whole))
          << "round " << round;
    }
  }
}

}  // namespace
}  // namespace hypenet
