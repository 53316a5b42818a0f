// Texts equal those of transformers' apply_chat_template (tools/write_chat_fixtures.py); what is no
// template of the families is refused by name.
#include "text/chat_template.h"

#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/json.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace hypenet {
namespace {

using std::filesystem::path;

const Json& fixtures() {
  static const Json kFixtures = read_json(path(HYPENET_TEST_DATA) / "chat" / "cases.json");
  return kFixtures;
}

std::string template_text(const std::string& name) {
  for (const Json& fixture : fixtures()["templates"]) {
    if (fixture["name"] == name) return fixture["template"].get<std::string>();
  }
  throw Error("no template " + name);
}

std::vector<ChatMessage> conversation(const Json& json) {
  std::vector<ChatMessage> messages;
  for (const Json& message : json) {
    messages.push_back({message[0].get<std::string>(), message[1].get<std::string>()});
  }
  return messages;
}

std::vector<std::string> names() {
  std::vector<std::string> result;
  for (const Json& fixture : fixtures()["templates"]) {
    result.push_back(fixture["name"].get<std::string>());
  }
  return result;
}

class ChatTemplateFixture : public testing::TestWithParam<std::string> {};

TEST_P(ChatTemplateFixture, renders_as_transformers_does) {
  const Json& talks = fixtures()["conversations"];
  for (const Json& fixture : fixtures()["templates"]) {
    if (fixture["name"] != GetParam()) continue;
    const Json& bos = fixture["bos_token"];
    const ChatTemplate chat = ChatTemplate::parse(fixture["template"].get<std::string>(),
                                                  bos.is_null() ? "" : bos.get<std::string>(), "x");
    ASSERT_GT(fixture["cases"].size(), 20U);
    for (const Json& item : fixture["cases"]) {
      const ChatOptions options{item["add_generation_prompt"].get<bool>(),
                                item["enable_thinking"].get<bool>(),
                                fixtures()["date"].get<std::string>()};
      const Json& talk = talks[item["conversation"].get<size_t>()];
      EXPECT_EQ(chat.render(conversation(talk), options), item["text"].get<std::string>())
          << talk.dump() << (options.add_generation_prompt ? ", prompt" : "");
    }
  }
}

INSTANTIATE_TEST_SUITE_P(templates, ChatTemplateFixture, testing::ValuesIn(names()),
                         [](const auto& info) { return info.param; });

TEST(ChatTemplateTest, a_turn_ends_with_its_familys_token) {
  EXPECT_EQ(ChatTemplate::parse(template_text("qwen3"), "", "x").end_of_turn(), "<|im_end|>");
  EXPECT_EQ(ChatTemplate::parse(template_text("llama31_like"), "", "x").end_of_turn(),
            "<|eot_id|>");
  EXPECT_EQ(ChatTemplate::named("none").end_of_turn(), "");
}

TEST(ChatTemplateTest, the_default_system_prompt_is_the_templates) {
  EXPECT_EQ(ChatTemplate::parse(template_text("smollm2"), "", "x").default_system_prompt(),
            "You are a helpful AI assistant named SmolLM, trained by Hugging Face");
  EXPECT_EQ(ChatTemplate::parse(template_text("qwen25_like"), "", "x").default_system_prompt(),
            "You are a test. You aren't \"Qwen\".");
  EXPECT_EQ(ChatTemplate::parse(template_text("qwen3"), "", "x").default_system_prompt(), "");
}

TEST(ChatTemplateTest, todays_date_is_told_where_the_template_asks_for_it) {
  const std::vector<ChatMessage> talk = {{"user", "Hi"}};
  const auto date = [&](const std::string& name) {
    const std::string text = ChatTemplate::parse(template_text(name), "", "x").render(talk);
    const size_t at = text.find("Today Date: ") + 12;
    return text.substr(at, text.find('\n', at) - at);
  };
  EXPECT_EQ(date("llama31_like"), "26 Jul 2024");
  EXPECT_EQ(date("llama32_like").size(), 11U);
  EXPECT_NE(date("llama32_like"), "26 Jul 2024");
}

TEST(ChatTemplateTest, named_templates_render_without_a_file) {
  const std::vector<ChatMessage> talk = {
      {"system", "s"}, {"user", "a"}, {"assistant", " b"}, {"user", "c"}};
  EXPECT_EQ(ChatTemplate::named("none").render(talk), "s\na b\nc");
  EXPECT_EQ(ChatTemplate::named("chatml").render(talk),
            "<|im_start|>system\ns<|im_end|>\n<|im_start|>user\na<|im_end|>\n"
            "<|im_start|>assistant\n b<|im_end|>\n<|im_start|>user\nc<|im_end|>\n"
            "<|im_start|>assistant\n");
  EXPECT_EQ(ChatTemplate::named("llama3").render(std::vector<ChatMessage>{{"user", "a"}}),
            "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\na<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n");
  EXPECT_ERROR(ChatTemplate::named("gemma"),
               "template: expected none, chatml or llama3, found \"gemma\"");
}

TEST(ChatTemplateTest, a_folders_template_is_found_where_transformers_finds_it) {
  const TemporaryFolder folder;
  const auto text = [&] {
    return ChatTemplate::load(folder.path()).render(std::vector<ChatMessage>{{"user", "a"}});
  };
  EXPECT_ERROR(text(),
               "tokenizer_config.json: chat_template: expected a ChatML or Llama 3 "
               "template, found none");
  const Json other = {{"name", "tool_use"}, {"template", "{{ tools }}"}};
  const Json llama = {{"name", "default"}, {"template", template_text("llama3_like")}};
  Json config = {{"bos_token", {{"content", "<s>"}}}, {"chat_template", Json::array({other})}};
  write_json(folder / "tokenizer_config.json", config);
  EXPECT_ERROR(text(), "chat_template: expected one named \"default\", found none");
  config["chat_template"].push_back(llama);
  write_json(folder / "tokenizer_config.json", config);
  EXPECT_TRUE(text().starts_with("<s><|start_header_id|>user"));
  config["chat_template"] = template_text("smollm2");
  write_json(folder / "tokenizer_config.json", config);
  EXPECT_TRUE(text().starts_with("<|im_start|>system\nYou are a helpful AI assistant"));
  write_file(folder / "chat_template.jinja", template_text("qwen3"));
  EXPECT_TRUE(text().starts_with("<|im_start|>user\na"));
  config["chat_template"] = 3;
  write_json(folder / "tokenizer_config.json", config);
  std::filesystem::remove(folder / "chat_template.jinja");
  EXPECT_ERROR(text(), "chat_template: expected a string or an array, found an integer");
}

TEST(ChatTemplateErrors, name_the_place_and_what_was_found) {
  const auto parse = [](const std::string& text) { return ChatTemplate::parse(text, "", "file"); };
  const auto changed = [](std::string text, const std::string& from, const std::string& to) {
    const size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return text.replace(at, from.size(), to);
  };
  const std::string chatml = template_text("smollm2"), llama = template_text("llama31_like");
  EXPECT_ERROR(parse(""), "file: expected a ChatML or Llama 3 template");
  EXPECT_ERROR(parse("{% for m in messages %}[INST]{{ m.content }}[/INST]{% endfor %}"),
               "file: expected a ChatML or Llama 3 template (<|im_start|> or "
               "<|start_header_id|>), found neither");
  EXPECT_ERROR(parse(changed(chatml, "'\n' + message", "'<|im_sep|>' + message")),
               "file: expected a known ChatML template, found <|im_sep|>");
  EXPECT_ERROR(parse(changed(chatml, "message['content']", "message['content'] | trim")),
               "file: expected a known ChatML template, found ");
  EXPECT_ERROR(parse(changed(chatml, "'<|im_start|>assistant\n'", "'<|im_start|>bot\n'")),
               "expected a known ChatML template, found \"<|im_start|>bot");
  EXPECT_ERROR(parse(changed(chatml, "if add_generation_prompt", "if true")), "file: expected ");
  EXPECT_ERROR(parse(changed(template_text("thinking_like"), "= message.content", "= 'x'")),
               "found content = \"x\"");
  EXPECT_ERROR(parse(changed(llama, "| trim + '<|eot_id|>'", "+ '<|eot_id|>'")),
               "file: expected a known Llama 3 template, found none of the kind ");
  EXPECT_ERROR(parse(changed(llama, "+ date_string", "+ date_string|upper")),
               "file: expected a known Llama 3 template, found a system turn");
  EXPECT_ERROR(parse(changed(llama, "\"26 Jul 2024\"", "strftime_now('%Y')")),
               "found date_string = strftime_now(\"%Y\")");
  EXPECT_ERROR(parse("<|im_start|>{{ message['role }}"),
               "file: expected an end of the tag at byte 12, found none");
  EXPECT_ERROR(parse("<|im_start|>{% if x"), "expected an end of the tag at byte 12");
}

TEST(ChatTemplateErrors, of_messages_name_what_was_found) {
  const ChatTemplate chat = ChatTemplate::named("chatml");
  EXPECT_ERROR(chat.render({}), "chat: expected at least one message, found none");
  EXPECT_ERROR(chat.render(std::vector<ChatMessage>{{"tool", "5"}}),
               "chat: role: expected system, user or assistant, found \"tool\"");
}

}  // namespace
}  // namespace hypenet
