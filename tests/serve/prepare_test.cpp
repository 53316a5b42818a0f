// What the engine is asked, and how its answer will be read.
#include "serve/prepare.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "tests/serve/fixture.h"
#include "tests/text/chat_fixture.h"

namespace hypenet {
namespace {

/// A folder with this template and Qwen's tokenizer, which the grammars keep a reference to.
struct Served : ServedFolder {
  explicit Served(const char* chat_template)
      : ServedFolder{.model = served_model(),
                     .tokenizer = Tokenizer::load(std::filesystem::path(HYPENET_TEST_DATA) /
                                                  "tokenizer" / "qwen3-cut"),
                     .chat = fixture_template(chat_template)} {
    tool_format = tool_format_of(*chat);
    chat_stop_ids = {*tokenizer.token_id("<|im_end|>")};
    grid = {.chunk = 256, .least = 64};
    grammars = std::make_shared<GrammarCompiler>(tokenizer, tokenizer.vocab_size());
  }
};

PreparedAnswer prepare(const ServedFolder& served, const std::string& choice) {
  Json body = {{"messages", {{{"role", "user"}, {"content", "Weather?"}}}},
               {"tools", chat_fixtures()["tools"]}};
  if (!choice.empty()) body["tool_choice"] = choice;
  Random random(1);
  return prepare_chat(served, served.model, parse_chat_request(body, served.model),
                      AnswerForm::kChat, random);
}

/// The calls of an answer: names and arguments.
std::vector<std::string> calls_of(const ServedFolder& served, const AnswerSetting& setting,
                                  const std::string& text) {
  AnswerText answer(served.tokenizer, setting);
  std::vector<std::string> calls;
  const auto take = [&](const AnswerText::Step& step) {
    for (const AnswerDelta& delta : step.deltas) {
      if (delta.kind == AnswerDelta::Kind::kToolCall) calls.push_back(delta.tool_name);
      if (delta.kind == AnswerDelta::Kind::kToolArguments) calls.back() += delta.text;
    }
  };
  for (const int32_t id : served.tokenizer.encode(text)) take(answer.push({.id = id}));
  take(answer.finish());
  return calls;
}

constexpr const char* kCall =
    "<tool_call>\n<function=weather>\n<parameter=city>\nO'Hare\n</parameter>\n<parameter=days>\n2\n"
    "</parameter>\n</function>\n</tool_call>";

TEST(Prepare, calls_in_tags_are_read_by_the_types_of_the_tools) {
  const Served served("qwen3_5_nothink");
  const PreparedChoice choice = prepare(served, "").choices.at(0);
  EXPECT_EQ(calls_of(served, choice.setting, kCall),
            std::vector<std::string>{R"(weather{"city": "O'Hare", "days": 2})"});
}

TEST(Prepare, calls_in_tags_that_are_required_are_held_to_the_schemas) {
  if (!GrammarCompiler::is_built_in()) GTEST_SKIP() << "built without xgrammar";
  const Served served("qwen3_5_nothink");
  const PreparedChoice choice = prepare(served, "required").choices.at(0);
  EXPECT_TRUE(choice.setting.valid_calls);
  ASSERT_TRUE(choice.request && choice.request->options.mask);
  TokenMask& mask = *choice.request->options.mask;
  const auto may_come = [&](int32_t id) {
    std::vector<int32_t> words(static_cast<size_t>(served.tokenizer.vocab_size() / 32 + 1));
    mask.fill(words);
    const auto bit = static_cast<size_t>(id);
    return (static_cast<uint32_t>(words[bit / 32]) >> (bit % 32) & 1U) != 0;
  };
  EXPECT_FALSE(may_come(served.chat_stop_ids.front()));
  for (const int32_t id : served.tokenizer.encode(kCall)) {
    ASSERT_TRUE(may_come(id)) << served.tokenizer.token_bytes(id);
    mask.accept(id);
  }
  EXPECT_TRUE(may_come(served.chat_stop_ids.front()));
}

}  // namespace
}  // namespace hypenet
