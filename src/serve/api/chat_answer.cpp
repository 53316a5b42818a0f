// The answer of /v1/chat/completions, whole and as a stream.
#include "serve/api/answer_parts.h"

namespace hypenet {
namespace {

using Block = AnswerBlock::Kind;
using Delta = AnswerDelta::Kind;

Json call_json(const std::string& id, const std::string& name, const std::string& arguments) {
  return {
      {"id", id}, {"type", "function"}, {"function", {{"name", name}, {"arguments", arguments}}}};
}

Json message_json(const AnswerChoice& choice) {
  Json calls = Json::array();
  for (const AnswerBlock& block : choice.blocks) {
    if (block.kind == Block::kCall) calls.push_back(call_json(block.id, block.name, block.text));
  }
  const std::string content = choice.text(Block::kContent);
  const std::string reasoning = choice.text(Block::kReasoning);
  Json message = {{"role", "assistant"}, {"content", content}, {"refusal", nullptr}};
  if (content.empty() && !calls.empty()) message["content"] = nullptr;
  if (!reasoning.empty()) message["reasoning_content"] = reasoning;
  if (!calls.empty()) message["tool_calls"] = std::move(calls);
  return message;
}

class WholeChat : public WholeAnswer {
 public:
  WholeChat(AnswerHead head, const Tokenizer& tokenizer, Random random)
      : WholeAnswer(std::move(head), "call_", tokenizer, random),
        logprobs_(choices_.size(), Json::array()) {}

  std::string delta(int64_t choice, const AnswerDelta& delta) override {
    if (tells_logprobs()) {
      Json& all = logprobs_.at(static_cast<size_t>(choice));
      for (Json& entry : chat_logprobs(delta, head_.top_logprobs, tokenizer_)) {
        all.push_back(std::move(entry));
      }
    }
    return WholeAnswer::delta(choice, delta);
  }

  std::string finish(const Usage& usage, const Timings& timings) override {
    Json answer = head_json("chat.completion");
    Json& list = answer["choices"] = Json::array();
    for (size_t i = 0; i < choices_.size(); ++i) {
      const Json logprobs = {{"content", std::move(logprobs_[i])}, {"refusal", nullptr}};
      list.push_back({{"index", i},
                      {"message", message_json(choices_[i])},
                      {"logprobs", tells_logprobs() ? logprobs : Json(nullptr)},
                      {"finish_reason", finish_name(choices_[i].reason, choices_[i].has_calls())}});
    }
    answer["usage"] = usage_json(usage);
    answer["timings"] = timings_json(timings);
    return body_text(answer);
  }

 private:
  std::vector<Json> logprobs_;  // by choice: entries
};

class ChatStream : public ChunkStream {
 public:
  ChatStream(AnswerHead head, const Tokenizer& tokenizer, Random random)
      : ChunkStream(std::move(head), "chat.completion.chunk", tokenizer, random),
        has_calls_(static_cast<size_t>(head_.choices), false) {}

  std::string begin(int64_t choice) override {
    return chunk(choice, R"("delta":{"role":"assistant","content":""})", logprobs({}));
  }

  std::string delta(int64_t choice, const AnswerDelta& delta) override {
    if (is_empty(delta)) return {};
    switch (delta.kind) {
      case Delta::kContent:
        return chunk(choice, R"("delta":{"content":)" + quoted(delta.text) + "}", logprobs(delta));
      case Delta::kReasoning:
        return chunk(choice, R"("delta":{"reasoning_content":)" + quoted(delta.text) + "}");
      case Delta::kToolCall: {
        has_calls_.at(static_cast<size_t>(choice)) = true;
        Json call = {{"index", delta.tool_index}};
        call.update(call_json(random_id("call_", random_), delta.tool_name, ""));
        return chunk(choice, R"("delta":{"tool_calls":[)" + body_text(call) + "]}");
      }
      case Delta::kToolArguments:
        return chunk(choice, concat(R"("delta":{"tool_calls":[{"index":)", delta.tool_index,
                                    R"(,"function":{"arguments":)", quoted(delta.text), "}}]}"));
    }
    return {};
  }

  std::string end(int64_t choice, FinishReason reason, const std::string&) override {
    return chunk(choice, R"("delta":{})", "null",
                 finish_name(reason, has_calls_.at(static_cast<size_t>(choice))));
  }

 private:
  std::string logprobs(const AnswerDelta& delta) const {
    if (!tells_logprobs()) return "null";
    return body_text(
        {{"content", chat_logprobs(delta, head_.top_logprobs, tokenizer_)}, {"refusal", nullptr}});
  }

  std::vector<bool> has_calls_;  // by choice
};

}  // namespace

std::unique_ptr<AnswerWriter> whole_chat(AnswerHead head, const Tokenizer& tokenizer,
                                         Random random) {
  return std::make_unique<WholeChat>(std::move(head), tokenizer, random);
}

std::unique_ptr<AnswerWriter> chat_stream(AnswerHead head, const Tokenizer& tokenizer,
                                          Random random) {
  return std::make_unique<ChatStream>(std::move(head), tokenizer, random);
}

}  // namespace hypenet
