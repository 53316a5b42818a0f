// Texts equal those of transformers' apply_chat_template (tools/write_chat_fixtures.py), with tools
// and without; what is no template is refused by name.
#include "text/chat_template.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/files.h"
#include "base/json.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"
#include "tests/text/chat_fixture.h"

namespace hypenet {
namespace {

const Json& fixtures() { return chat_fixtures(); }

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
    const ChatTemplate chat =
        ChatTemplate::parse(fixture["template"].get<std::string>(), fixture["tokens"], "x");
    ASSERT_GE(fixture["cases"].size(), 8U);
    for (const Json& item : fixture["cases"]) {
      ChatOptions options;
      options.add_generation_prompt = item["add_generation_prompt"].get<bool>();
      if (!item["enable_thinking"].get<bool>()) options.enable_thinking = false;
      options.date = fixtures()["date"].get<std::string>();
      const Json& talk = talks[item["conversation"].get<size_t>()];
      if (item.contains("refused")) {
        EXPECT_ERROR(chat.render(conversation(talk), options), item["refused"].get<std::string>());
        continue;
      }
      EXPECT_EQ(chat.render(conversation(talk), options), item["text"].get<std::string>())
          << talk.dump() << (options.add_generation_prompt ? ", prompt" : "");
    }
  }
}

TEST_P(ChatTemplateFixture, renders_tools_and_their_calls_as_transformers_does) {
  for (const Json& fixture : fixtures()["templates"]) {
    if (fixture["name"] != GetParam()) continue;
    const ChatTemplate chat =
        ChatTemplate::parse(fixture["template"].get<std::string>(), fixture["tokens"], "x");
    for (const Json& item : fixture["tool_cases"]) {
      ChatOptions options;
      if (item["with_tools"].get<bool>()) options.tools = fixtures()["tools"];
      const Json& talk = fixtures()["tool_conversations"][item["conversation"].get<size_t>()];
      EXPECT_EQ(join_pieces(chat.render_pieces(talk, options)), item["text"].get<std::string>())
          << talk.dump();
    }
  }
}

INSTANTIATE_TEST_SUITE_P(templates, ChatTemplateFixture, testing::ValuesIn(names()),
                         [](const auto& info) { return info.param; });

TEST(ChatTemplateTest, a_turn_ends_with_its_familys_token) {
  EXPECT_EQ(ChatTemplate::parse(template_text("qwen3"), {}, "x").end_of_turn(), "<|im_end|>");
  EXPECT_EQ(ChatTemplate::parse(template_text("llama31_like"), {}, "x").end_of_turn(),
            "<|eot_id|>");
  EXPECT_EQ(ChatTemplate::named("none").end_of_turn(), "");
}

TEST(ChatTemplateTest, the_default_system_prompt_is_the_templates) {
  EXPECT_EQ(ChatTemplate::parse(template_text("smollm2"), {}, "x").default_system_prompt(),
            "You are a helpful AI assistant named SmolLM, trained by Hugging Face");
  EXPECT_EQ(ChatTemplate::parse(template_text("qwen25_like"), {}, "x").default_system_prompt(),
            "You are a test. You aren't \"Qwen\".");
  EXPECT_EQ(ChatTemplate::parse(template_text("qwen3"), {}, "x").default_system_prompt(), "");
}

TEST(ChatTemplateTest, turns_begin_with_a_token_that_roles_share) {
  const auto token = [](const std::string& text) {
    return ChatTemplate::parse(text, {}, "x").turn_token();
  };
  EXPECT_EQ(token(template_text("qwen3")), "<|im_start|>");
  EXPECT_EQ(token(template_text("llama31_like")), "<|start_header_id|>");
  EXPECT_EQ(ChatTemplate::named("none").turn_token(), "");
  EXPECT_EQ(token("{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"), "");
  EXPECT_EQ(token("{% for m in messages %}<turn>{{ m.role }} {{ m.content }} {% endfor %}"),
            "<turn>");
  EXPECT_EQ(token("{% for m in messages %}{{ m.content }}<end>{% endfor %}"), "");
}

TEST(ChatTemplateTest, tells_whether_it_reads_tools_and_knows_thoughts) {
  const auto facts = [](const std::string& name) {
    const ChatTemplate chat = ChatTemplate::parse(template_text(name), {}, "x");
    return std::pair(chat.reads_tools(), chat.knows_thinking());
  };
  EXPECT_EQ(facts("qwen3"), std::pair(true, true));
  EXPECT_EQ(facts("qwen25"), std::pair(true, false));
  EXPECT_EQ(facts("llama31_like"), std::pair(false, false));  // names them, prints none
  EXPECT_EQ(facts("smollm2"), std::pair(false, false));
  const ChatTemplate llama = ChatTemplate::parse(kLlamaTools, {}, "x");
  EXPECT_TRUE(llama.reads_tools());
}

TEST(ChatTemplateTest, tells_whether_it_reads_calls) {
  const auto reads = [](std::string_view text) {
    return ChatTemplate::parse(std::string(text), {}, "x").reads_calls();
  };
  EXPECT_TRUE(reads(template_text("qwen3")));
  EXPECT_TRUE(reads(kLlamaTools));
  EXPECT_FALSE(reads(template_text("smollm2")));
  EXPECT_FALSE(ChatTemplate::named("none").reads_calls());
  EXPECT_TRUE(
      reads("{% for m in messages %}{% if m.tool_calls %}{{ raise_exception('no') }}{% endif %}"
            "{{ m.content }}{% endfor %}"));
}

TEST(ChatTemplateTest, tools_in_the_form_of_llama_are_printed) {
  const ChatTemplate chat = ChatTemplate::parse(kLlamaTools, {{"bos_token", "<s>"}}, "x");
  const Json call = {{"name", "weather"}, {"arguments", {{"city", "K\u00f6ln"}}}};
  const Json talk =
      Json::array({{{"role", "user"}, {"content", "Weather?"}},
                   {{"role", "assistant"}, {"tool_calls", Json::array({{{"function", call}}})}},
                   {{"role", "tool"}, {"content", "3"}}});
  const Json tools = Json::array({{{"name", "weather"}}});
  EXPECT_EQ(join_pieces(chat.render_pieces(talk, {.tools = tools})),
            "<s><|start_header_id|>user<|end_header_id|>\n\n"
            "Answer with a call: {\"name\": ..., \"parameters\": ...}.\n\n"
            "{\n    \"name\": \"weather\"\n}\n\nWeather?<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n"
            "{\"name\": \"weather\", \"parameters\": {\"city\": \"K\u00f6ln\"}}<|eot_id|>"
            "<|start_header_id|>ipython<|end_header_id|>\n\n\"3\"<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n");
}

TEST(ChatTemplateTest, todays_date_is_told_where_the_template_asks_for_it) {
  const std::vector<ChatMessage> talk = {{"user", "Hi"}};
  const auto date = [&](const std::string& name) {
    const std::string text = ChatTemplate::parse(template_text(name), {}, "x").render(talk);
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
  EXPECT_ERROR(text(), "tokenizer_config.json: chat_template: expected a template, found none");
  const Json other = {{"name", "tool_use"}, {"template", "{{ tools }}"}};
  const Json llama = {{"name", "default"}, {"template", template_text("llama3_like")}};
  Json config = {{"bos_token", {{"content", "<s>"}}}, {"chat_template", Json::array({other})}};
  write_json(folder / "tokenizer_config.json", config);
  EXPECT_ERROR(text(), "chat_template: expected one named \"default\", found none");
  config["chat_template"].push_back(llama);
  write_json(folder / "tokenizer_config.json", config);
  EXPECT_TRUE(text().starts_with("<s><|start_header_id|>user"));
  config.erase("bos_token");
  write_json(folder / "tokenizer_config.json", config);
  write_json(folder / "special_tokens_map.json", {{"bos_token", "<t>"}, {"eos_token", nullptr}});
  EXPECT_TRUE(text().starts_with("<t><|start_header_id|>user"));
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

TEST(ChatTemplateTest, what_ends_a_turn_is_found_in_what_the_template_prints) {
  const auto facts = [](const std::string& assistant, const Json& tokens = Json::object()) {
    const ChatTemplate chat =
        ChatTemplate::parse("{% for m in messages %}{% if m.role == 'assistant' %}" + assistant +
                                "{% else %}[INST] {{ m.content }} [/INST]{% endif %}{% endfor %}",
                            tokens, "x");
    return concat(chat.family_name(), " ", chat.end_of_turn());
  };
  EXPECT_EQ(facts("{{ m.content }}{{ eos_token }}", {{"eos_token", "</s>"}}), "its own </s>");
  EXPECT_EQ(facts("{{ m.content }}{{ eos_token }}", {{"eos_token", "[END]"}}), "its own [END]");
  EXPECT_EQ(facts("{{ m.content }}\n <end_of_turn>\n"), "its own <end_of_turn>");
  EXPECT_EQ(facts("{{ m.content }}<|im_end|>{{ eos_token }}"), "ChatML <|im_end|>");
  EXPECT_EQ(facts("{{ m.content }} and < more >"), "its own ");
  EXPECT_EQ(facts("{{ m.content }}"), "its own ");
  EXPECT_EQ(facts("{{ raise_exception('no') }}"), "its own ");
}

TEST(ChatTemplateTest, only_the_templates_own_text_is_marked_so) {
  const Json talk = Json::array({{{"role", "user"}, {"content", "a<|im_end|>"}}});
  const auto pieces = ChatTemplate::named("chatml").render_pieces(talk);
  ASSERT_EQ(pieces.size(), 3U);
  EXPECT_EQ(pieces[0].text, "<|im_start|>user\n");
  EXPECT_FALSE(pieces[0].is_given);
  EXPECT_EQ(pieces[1].text, "a<|im_end|>");
  EXPECT_TRUE(pieces[1].is_given);
  EXPECT_EQ(pieces[2].text, "<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_FALSE(pieces[2].is_given);
}

TEST(ChatTemplateErrors, name_the_place_and_what_was_found) {
  const auto parse = [](const std::string& text) { return ChatTemplate::parse(text, {}, "file"); };
  const std::string silent =
      "file: expected a chat template, which prints what a user says, found one that does not";
  EXPECT_ERROR(parse(""), silent);
  EXPECT_ERROR(parse("{{ bos_token }}<|im_start|>"), silent);
  EXPECT_ERROR(parse("<|im_start|>{{ message['role }}"),
               "file:1:24: expected an end of the string, found none");
  EXPECT_ERROR(parse("<|im_start|>{% if x"), "file:1:13: expected an end of the tag (%}), found ");
  EXPECT_ERROR(parse("{{ messages | shuffle }}"),
               "file:1:15: expected a known filter, found \"shuffle\"");
  EXPECT_ERROR(parse("{{ raise_exception('Tell more!') }}"), "file:1:4: Tell more!");
}

TEST(ChatTemplateErrors, of_messages_name_what_was_found) {
  const ChatTemplate chat = ChatTemplate::named("chatml");
  EXPECT_ERROR(chat.render({}), "chat: expected at least one message, found none");
  EXPECT_ERROR(chat.render(std::vector<ChatMessage>{{"tool", "5"}}),
               "chat: role: expected system, user or assistant, found \"tool\"");
}

}  // namespace
}  // namespace hypenet
