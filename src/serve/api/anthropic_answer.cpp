// The answer of /v1/messages, whole and as a stream: blocks of thinking, text and tool_use.
#include "serve/api/answer_parts.h"
#include "serve/api/chat_messages.h"

namespace hypenet {
namespace {

using Block = AnswerBlock::Kind;
using Delta = AnswerDelta::Kind;

std::string event(const char* name, const Json& json) {
  Json whole = {{"type", name}};
  whole.update(json);
  return concat("event: ", name, "\ndata: ", body_text(whole), "\n\n");
}

Json usage_of(const Usage& usage) {
  return {{"input_tokens", usage.prompt_tokens - usage.cached_tokens},
          {"cache_creation_input_tokens", usage.kept_tokens},
          {"cache_read_input_tokens", usage.cached_tokens},
          {"output_tokens", usage.completion_tokens},
          {"output_tokens_details", {{"thinking_tokens", usage.reasoning_tokens}}}};
}

std::string_view stop_reason(const AnswerChoice& choice) {
  if (choice.reason != FinishReason::kStop) return "max_tokens";
  if (choice.has_calls()) return "tool_use";
  return choice.stop_string.empty() ? "end_turn" : "stop_sequence";
}

Json stop_json(const AnswerChoice& choice) {
  const bool by_string = stop_reason(choice) == "stop_sequence";
  return {{"stop_reason", stop_reason(choice)},
          {"stop_sequence", by_string ? Json(choice.stop_string) : Json(nullptr)}};
}

Json message_json(const AnswerHead& head, const Json& content) {
  return {{"id", head.id},
          {"type", "message"},
          {"role", "assistant"},
          {"model", head.model},
          {"content", content},
          {"stop_reason", nullptr},
          {"stop_sequence", nullptr},
          {"seed", head.seed}};
}

/// The input that arguments say; of a call that was cut off, what there is of it.
Json input_json(const std::string& arguments) {
  const Json input = call_arguments(arguments);
  if (input.is_object()) return input;
  return arguments.empty() ? Json(Json::object()) : Json::object({{"partial_json", arguments}});
}

Json block_json(const AnswerBlock& block) {
  if (block.kind == Block::kReasoning) {
    return {{"type", "thinking"}, {"thinking", block.text}, {"signature", ""}};
  }
  if (block.kind == Block::kContent) return {{"type", "text"}, {"text", block.text}};
  return {{"type", "tool_use"},
          {"id", block.id},
          {"name", block.name},
          {"input", input_json(block.text)}};
}

class WholeMessage : public WholeAnswer {
 public:
  WholeMessage(AnswerHead head, const Tokenizer& tokenizer, Random random)
      : WholeAnswer(std::move(head), "toolu_", tokenizer, random) {}

  std::string finish(const Usage& usage, const Timings&) override {
    const AnswerChoice& choice = choices_.at(0);
    Json content = Json::array();
    for (const AnswerBlock& block : choice.blocks) content.push_back(block_json(block));
    Json message = message_json(head_, content);
    message.update(stop_json(choice));
    message["usage"] = usage_of(usage);
    return body_text(message);
  }

  std::string error(const ApiError& error) override { return body_text(anthropic_error(error)); }
};

/// It gathers too: where blocks begin and end, and why the answer ended.
class MessageStream : public WholeMessage {
 public:
  using WholeMessage::WholeMessage;

  std::string begin(int64_t) override {
    Json message = message_json(head_, Json::array());
    message["usage"] = usage_of({.prompt_tokens = head_.prompt_tokens});
    return event("message_start", {{"message", std::move(message)}}) +
           event("ping", Json::object());
  }

  std::string delta(int64_t choice, const AnswerDelta& delta) override {
    AnswerChoice& told = choices_.at(static_cast<size_t>(choice));
    const size_t before = told.blocks.size();
    WholeAnswer::delta(choice, delta);
    std::string text;
    if (told.blocks.size() > before) {
      text = stop_block(before) + start_block(told.blocks.back(), before);
    }
    if (delta.text.empty()) return text;
    text += delta_before(told.blocks.size() - 1, delta.kind);
    return text.append(quoted(delta.text)).append("}}\n\n");
  }

  std::string end(int64_t choice, FinishReason reason, const std::string& stop_string) override {
    WholeAnswer::end(choice, reason, stop_string);
    return stop_block(choices_.at(0).blocks.size());
  }

  std::string finish(const Usage& usage, const Timings&) override {
    return event("message_delta",
                 {{"delta", stop_json(choices_.at(0))}, {"usage", usage_of(usage)}}) +
           event("message_stop", Json::object());
  }

  std::string error(const ApiError& error) override {
    return event("error", anthropic_error(error));
  }

 private:
  /// The end of the last of `count` blocks.
  static std::string stop_block(size_t count) {
    return count == 0 ? "" : event("content_block_stop", {{"index", count - 1}});
  }

  static std::string start_block(AnswerBlock block, size_t index) {
    block.text.clear();
    return event("content_block_start", {{"index", index}, {"content_block", block_json(block)}});
  }

  static std::string delta_before(size_t index, Delta kind) {
    const std::string_view type = kind == Delta::kContent ? R"("text_delta","text":)"
                                  : kind == Delta::kReasoning
                                      ? R"("thinking_delta","thinking":)"
                                      : R"("input_json_delta","partial_json":)";
    return concat("event: content_block_delta\ndata: ", R"({"type":"content_block_delta","index":)",
                  index, R"(,"delta":{"type":)", type);
  }
};

}  // namespace

std::unique_ptr<AnswerWriter> whole_anthropic(AnswerHead head, const Tokenizer& tokenizer,
                                              Random random) {
  return std::make_unique<WholeMessage>(std::move(head), tokenizer, random);
}

std::unique_ptr<AnswerWriter> anthropic_stream(AnswerHead head, const Tokenizer& tokenizer,
                                               Random random) {
  return std::make_unique<MessageStream>(std::move(head), tokenizer, random);
}

}  // namespace hypenet
