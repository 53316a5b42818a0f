// What a conversation's text costs: chat_bench MODEL_FOLDER [benchmark flags]. A prompt of 1 MB
// with its borders, beside the same text encoded as one; and an answer's tokens, one by one.
#include <benchmark/benchmark.h>

#include <cstdio>
#include <string>
#include <vector>

#include "base/error.h"
#include "serve/text/answer_text.h"
#include "text/chat_prompt.h"

namespace {

using namespace hypenet;

std::string prose(size_t size) {
  std::string text;
  for (int64_t i = 0; text.size() < size; ++i) {
    text += concat("Sentence ", i * 7919 % 10007, " says that na\u00efve readers wait for it;\n");
  }
  return text;
}

Json conversation(size_t size) {
  constexpr size_t kMessage = 2000;
  Json messages = Json::array();
  for (size_t at = 0; at < size; at += kMessage) {
    messages.push_back(
        {{"role", messages.size() % 2 == 0 ? "user" : "assistant"}, {"content", prose(kMessage)}});
  }
  return messages;
}

void encode_prompt(benchmark::State& state, const Tokenizer& tokenizer, const ChatTemplate& chat) {
  const Json messages = conversation(1 << 20);
  int64_t bytes = 0, tokens = 0;
  for (auto _ : state) {
    const EncodedPrompt prompt = encode_chat(tokenizer, chat, messages);
    bytes += std::ssize(prompt.text);
    tokens += std::ssize(prompt.ids);
  }
  state.SetBytesProcessed(bytes);
  state.SetItemsProcessed(tokens);
}

void encode_text(benchmark::State& state, const Tokenizer& tokenizer, const ChatTemplate& chat) {
  const std::string text = join_pieces(chat.render_pieces(conversation(1 << 20)));
  for (auto _ : state) benchmark::DoNotOptimize(tokenizer.encode(text));
  state.SetBytesProcessed(state.iterations() * std::ssize(text));
}

void push_tokens(benchmark::State& state, const Tokenizer& tokenizer, const std::string& text,
                 const AnswerSetting& setting) {
  const std::vector<int32_t> ids = tokenizer.encode(text);
  for (auto _ : state) {
    AnswerText answer(tokenizer, setting);
    for (const int32_t id : ids) benchmark::DoNotOptimize(answer.push({.id = id}));
    benchmark::DoNotOptimize(answer.finish());
  }
  state.SetItemsProcessed(state.iterations() * std::ssize(ids));
}

int run(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  HYPENET_CHECK(argc == 2, "usage: chat_bench MODEL_FOLDER");
  const Tokenizer tokenizer = Tokenizer::load(argv[1]);
  const ChatTemplate chat = ChatTemplate::named("chatml");
  const std::string text = prose(100'000);
  const std::string call =
      concat("<tool_call>{\"name\": \"write\", \"arguments\": {\"text\": ", Json(text).dump(),
             "}}</tool_call>");
  const std::vector<std::string> stops = {"\n\n\n", "Observation:", "END", "</answer>"};
  const auto add = [](const std::string& name, const auto& function, const auto&... arguments) {
    benchmark::RegisterBenchmark(name.c_str(), function, arguments...)
        ->Unit(benchmark::kMillisecond);
  };
  add("encode_chat, 1 MB", encode_prompt, std::cref(tokenizer), std::cref(chat));
  add("encode, 1 MB", encode_text, std::cref(tokenizer), std::cref(chat));
  add("answer, plain", push_tokens, std::cref(tokenizer), text, AnswerSetting());
  add("answer, stops", push_tokens, std::cref(tokenizer), text, AnswerSetting{.stops = stops});
  const AnswerSetting tools{.has_reasoning = true, .tools = ToolFormat::kHermes, .stops = stops};
  add("answer, stops and tools", push_tokens, std::cref(tokenizer), text, tools);
  add("answer, a call", push_tokens, std::cref(tokenizer), call, tools);
  AnswerSetting valid = tools;
  valid.valid_calls = true;
  add("answer, a call while it comes", push_tokens, std::cref(tokenizer), call, valid);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "chat_bench: %s\n", error.what());
    return 1;
  }
}
