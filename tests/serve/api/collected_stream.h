// What a client makes of a stream of server-sent events: the whole answer.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace hypenet {

struct SentEvent {
  std::string name;  // empty: none
  std::string data;
};

/// Events of at most one line `event:` and exactly one line `data:`.
inline std::vector<SentEvent> read_events(std::string_view bytes) {
  std::vector<SentEvent> events;
  while (!bytes.empty()) {
    const size_t end = bytes.find("\n\n");
    EXPECT_NE(end, bytes.npos) << bytes;
    if (end == bytes.npos) break;
    std::string_view text = bytes.substr(0, end);
    bytes.remove_prefix(end + 2);
    SentEvent event;
    if (text.starts_with("event: ")) {
      const size_t line = text.find('\n');
      event.name = text.substr(7, line - 7);
      text.remove_prefix(line + 1);
    }
    EXPECT_TRUE(text.starts_with("data: ")) << text;
    event.data = text.substr(6);
    EXPECT_EQ(event.data.find('\n'), std::string::npos);
    events.push_back(std::move(event));
  }
  return events;
}

/// The chunks, and what whole answers have at their top. [DONE] ends the stream.
inline std::vector<Json> read_chunks(const std::string& stream, const char* object, Json& answer) {
  std::vector<SentEvent> events = read_events(stream);
  EXPECT_EQ(events.back().data, "[DONE]");
  events.pop_back();
  std::vector<Json> chunks;
  for (const SentEvent& event : events) chunks.push_back(Json::parse(event.data));
  const Json& first = chunks.front();
  answer = {{"id", first["id"]},
            {"object", object},
            {"created", first["created"]},
            {"model", first["model"]},
            {"system_fingerprint", first["system_fingerprint"]},
            {"seed", nullptr},
            {"choices", Json::array()},
            {"usage", chunks.back()["usage"]},
            {"timings", chunks.back()["timings"]}};
  for (const Json& chunk : chunks) {
    EXPECT_EQ(chunk["id"], first["id"]);
    if (chunk.contains("seed")) answer["seed"] = chunk["seed"];
  }
  return chunks;
}

/// The whole's choice of this index, which the first chunk of it makes.
inline Json& choice_of(Json& answer, const Json& part, const Json& fresh) {
  Json& choices = answer["choices"];
  while (choices.size() <= part["index"].get<size_t>()) {
    choices.push_back(fresh);
    choices.back()["index"] = choices.size() - 1;
  }
  return choices[part["index"].get<size_t>()];
}

inline void append_text(Json& object, const char* key, const Json& text) {
  const std::string before = object.contains(key) && object[key].is_string()
                                 ? object[key].get<std::string>()
                                 : std::string();
  object[key] = before + text.get<std::string>();
}

inline void append_items(Json& list, const Json& items) {
  for (const Json& item : items) list.push_back(item);
}

inline void collect_delta(Json& message, const Json& delta) {
  if (delta.contains("content")) append_text(message, "content", delta["content"]);
  if (delta.contains("reasoning_content")) {
    append_text(message, "reasoning_content", delta["reasoning_content"]);
  }
  if (!delta.contains("tool_calls")) return;
  for (Json call : delta["tool_calls"]) {
    const auto index = call["index"].get<size_t>();
    call.erase("index");
    Json& calls = message["tool_calls"];
    if (calls.is_null() || calls.size() == index) {
      calls.push_back(call);
    } else {
      append_text(calls.at(index)["function"], "arguments", call["function"]["arguments"]);
    }
  }
}

inline Json collect_chat(const std::string& stream) {
  Json answer;
  const Json fresh = {{"index", 0},
                      {"message", {{"role", "assistant"}, {"content", ""}, {"refusal", nullptr}}},
                      {"logprobs", nullptr},
                      {"finish_reason", nullptr}};
  for (const Json& chunk : read_chunks(stream, "chat.completion", answer)) {
    for (const Json& part : chunk["choices"]) {
      Json& choice = choice_of(answer, part, fresh);
      EXPECT_TRUE(choice["finish_reason"].is_null());
      choice["finish_reason"] = part["finish_reason"];
      collect_delta(choice["message"], part["delta"]);
      if (part["logprobs"].is_null()) continue;
      if (choice["logprobs"].is_null()) {
        choice["logprobs"] = part["logprobs"];
      } else {
        append_items(choice["logprobs"]["content"], part["logprobs"]["content"]);
      }
    }
  }
  for (Json& choice : answer["choices"]) {
    Json& message = choice["message"];
    if (message["content"] == "" && message.contains("tool_calls")) message["content"] = nullptr;
  }
  return answer;
}

inline Json collect_completion(const std::string& stream) {
  Json answer;
  const Json fresh = {
      {"index", 0}, {"text", ""}, {"logprobs", nullptr}, {"finish_reason", nullptr}};
  for (const Json& chunk : read_chunks(stream, "text_completion", answer)) {
    for (const Json& part : chunk["choices"]) {
      Json& choice = choice_of(answer, part, fresh);
      choice["finish_reason"] = part["finish_reason"];
      append_text(choice, "text", part["text"]);
      if (choice["logprobs"].is_null()) {
        choice["logprobs"] = part["logprobs"];
      } else if (!part["logprobs"].is_null()) {
        for (auto& [name, list] : choice["logprobs"].items()) {
          if (!list.is_null()) append_items(list, part["logprobs"][name]);
        }
      }
    }
  }
  return answer;
}

inline Json collect_anthropic(const std::string& stream) {
  Json message;
  std::string input;
  for (const auto& [name, text] : read_events(stream)) {
    const Json data = Json::parse(text);
    if (name == "message_start") message = data["message"];
    if (name == "content_block_start") {
      EXPECT_EQ(data["index"], message["content"].size());
      message["content"].push_back(data["content_block"]);
    }
    if (name == "content_block_delta") {
      Json& block = message["content"].at(data["index"].get<size_t>());
      const Json& delta = data["delta"];
      if (delta["type"] == "text_delta") append_text(block, "text", delta["text"]);
      if (delta["type"] == "thinking_delta") append_text(block, "thinking", delta["thinking"]);
      if (delta["type"] == "input_json_delta") input += delta["partial_json"].get<std::string>();
    }
    if (name == "content_block_stop" && !input.empty()) {
      message["content"].back()["input"] = Json::parse(input);
      input.clear();
    }
    if (name == "message_delta") {
      message.update(data["delta"]);
      message["usage"] = data["usage"];
    }
  }
  return message;
}

}  // namespace hypenet
