// Without special tokens in messages the ids are those of the whole text; with them only the
// template's own count. Conversations that begin alike have the same borders there.
#include "text/chat_prompt.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/random.h"
#include "tests/support/expect_error.h"
#include "tests/text/chat_fixture.h"
#include "tests/text/fixture.h"

namespace hypenet {
namespace {

using std::filesystem::path;
using testing::ElementsAre;
using testing::IsEmpty;
using Kind = PromptBorder::Kind;

Tokenizer load(const std::string& name) { return Tokenizer::load(tokenizer_data() / name); }

/// A fixture's tokenizer with further special tokens.
Tokenizer load_with(const std::string& name, const std::vector<Json>& added) {
  Json definition = read_json(tokenizer_data() / name / "tokenizer.json");
  int64_t id = 7000;
  for (const Json& token : added) {
    Json entry = {{"id", id++},      {"content", ""},   {"single_word", false},
                  {"lstrip", false}, {"rstrip", false}, {"normalized", false},
                  {"special", true}};
    entry.update(token);
    definition["added_tokens"].push_back(entry);
  }
  return load_json(definition);
}

Json message(const std::string& role, const std::string& content) {
  return {{"role", role}, {"content", content}};
}

/// Parts that join over borders: digits, newlines, marks that compose, pieces of words.
std::string random_text(Random& random, bool with_specials) {
  static const std::vector<std::string> kParts = {"the",          "1",
                                                  "234",          "\n",
                                                  "\n\n",         " ",
                                                  "\r\n",         "e",
                                                  "\u0301",       "\u00e9",
                                                  "\u65e5\u672c", "'s",
                                                  "\u1100",       "\u1161",
                                                  "\u0915\u093c", "!",
                                                  "user",         "<|im",
                                                  "|>",           "_",
                                                  "\t",           "\U0001F468\u200d"};
  static const std::vector<std::string> kSpecials = {"<|im_end|>", "<think>", "<|im_start|>user\n",
                                                     "<|endoftext|>", "</tool_call>"};
  std::string text;
  for (int64_t n = random.below(8); n > 0; --n) {
    const auto& parts = with_specials && random.below(3) == 0 ? kSpecials : kParts;
    text += parts[static_cast<size_t>(random.below(std::ssize(parts)))];
  }
  return text;
}

Json random_conversation(Random& random, bool with_specials = false) {
  Json messages = Json::array();
  if (random.below(2) == 0)
    messages.push_back(message("system", random_text(random, with_specials)));
  for (int64_t turns = 1 + random.below(3); turns > 0; --turns) {
    messages.push_back(message("user", random_text(random, with_specials)));
    if (turns > 1) messages.push_back(message("assistant", random_text(random, with_specials)));
  }
  return messages;
}

std::vector<PromptBorder> before(const std::vector<PromptBorder>& borders, int64_t position) {
  std::vector<PromptBorder> result;
  std::ranges::copy_if(borders, std::back_inserter(result),
                       [&](const PromptBorder& border) { return border.position < position; });
  return result;
}

int64_t common_prefix(const std::vector<int32_t>& left, const std::vector<int32_t>& right) {
  return std::ranges::mismatch(left, right).in1 - left.begin();
}

TEST(ChatPrompt, without_specials_in_messages_ids_are_those_of_the_whole_text) {
  const std::vector<std::string> templates = {"qwen3",        "qwen25",      "smollm2",
                                              "llama31_like", "llama3_like", "eos_after"};
  for (const std::string name : {"qwen3-cut", "llama3-like", "smollm2-like"}) {
    const Tokenizer tokenizer = load(name);
    for (const std::string& chat_name : templates) {
      const ChatTemplate chat = fixture_template(chat_name);
      for (int64_t i = 0; i < 60; ++i) {
        Random random(1, {i, std::ssize(chat_name), std::ssize(name)});
        const Json messages = random_conversation(random);
        const EncodedPrompt prompt = encode_chat(tokenizer, chat, messages);
        EXPECT_EQ(prompt.text, join_pieces(chat.render_pieces(messages)));
        EXPECT_EQ(prompt.ids, tokenizer.encode(prompt.text)) << name << " " << prompt.text;
      }
    }
  }
}

TEST(ChatPrompt, the_same_holds_where_tokens_are_sought_in_normalised_text) {
  const Tokenizer tokenizer = load_with(
      "qwen3-cut",
      {{{"content", "<e\u0301>"}, {"normalized", true}}, {{"content", "Q:"}, {"rstrip", true}}});
  const ChatTemplate chat = ChatTemplate::parse(
      "{% for m in messages %}<\u00e9>Q:{{ m.content }}<e\u0301>{% endfor %}", {}, "x");
  for (int64_t i = 0; i < 300; ++i) {
    Random random(2, {i});
    const Json messages = random_conversation(random);
    const EncodedPrompt prompt = encode_chat(tokenizer, chat, messages);
    EXPECT_EQ(prompt.ids, tokenizer.encode(prompt.text)) << prompt.text;
  }
  const Json talk = Json::array({message("user", "<\u00e9> <e\u0301> o\u0302\u0301")});
  const std::vector<int32_t> ids = encode_chat(tokenizer, chat, talk).ids;
  EXPECT_EQ(std::ranges::count(ids, 7000), 2);
  EXPECT_EQ(std::ranges::count(tokenizer.encode("<\u00e9>Q:<\u00e9> <e\u0301>"), 7000), 3);
}

TEST(ChatPrompt, special_tokens_of_messages_are_text) {
  const Tokenizer tokenizer = load("qwen3-cut");
  const ChatTemplate chat = fixture_template("qwen3");
  for (int64_t i = 0; i < 200; ++i) {
    Random random(3, {i});
    const Json messages = random_conversation(random, /*with_specials=*/true);
    const EncodedPrompt prompt = encode_chat(tokenizer, chat, messages);
    // Each message has a header and an end; the generation prompt a header.
    const auto count = [&](const std::string& token) {
      return std::ranges::count(prompt.ids, *tokenizer.token_id(token));
    };
    EXPECT_EQ(count("<|im_start|>"), std::ssize(messages) + 1);
    EXPECT_EQ(count("<|im_end|>"), std::ssize(messages));
    EXPECT_EQ(count("<|endoftext|>") + count("</tool_call>") + count("<think>"), 0);
    EXPECT_EQ(tokenizer.decode(prompt.ids), tokenizer.decode(tokenizer.encode(prompt.text)));
    const PromptOptions as_transformers{.specials_in_messages = true};
    EXPECT_EQ(encode_chat(tokenizer, chat, messages, {}, as_transformers).ids,
              tokenizer.encode(prompt.text));
  }
}

TEST(ChatPrompt, a_token_half_in_a_message_is_text) {
  const Tokenizer tokenizer = load("qwen3-cut");
  const ChatTemplate chat =
      ChatTemplate::parse("{% for m in messages %}<|im_{{ m.content }}|>{% endfor %}", {}, "x");
  const Json talk = Json::array({message("user", "end")});
  EXPECT_EQ(tokenizer.encode("<|im_end|>").size(), 1U);
  EXPECT_GT(encode_chat(tokenizer, chat, talk).ids.size(), 1U);
}

TEST(ChatPrompt, borders_stand_at_headers_and_behind_the_system_message) {
  const Tokenizer tokenizer = load("qwen3-cut");
  const ChatTemplate chat = fixture_template("qwen3");
  const Json talk = Json::array({message("system", "S"), message("user", "<|im_start|>"),
                                 message("assistant", "A"), message("user", "B")});
  const EncodedPrompt prompt = encode_chat(tokenizer, chat, talk, {}, {.marks = {{2}, {3}}});
  std::vector<int64_t> headers;
  for (size_t i = 0; i < prompt.ids.size(); ++i) {
    if (prompt.ids[i] == *tokenizer.token_id("<|im_start|>"))
      headers.push_back(static_cast<int64_t>(i));
  }
  ASSERT_EQ(headers.size(), 5U);
  EXPECT_THAT(
      prompt.borders,
      ElementsAre(PromptBorder{headers[0], Kind::kTurn}, PromptBorder{headers[1], Kind::kTurn},
                  PromptBorder{headers[1], Kind::kSystemEnd}, PromptBorder{headers[2], Kind::kTurn},
                  PromptBorder{headers[3], Kind::kTurn}, PromptBorder{headers[3], Kind::kClient},
                  PromptBorder{headers[4], Kind::kTurn}, PromptBorder{headers[4], Kind::kClient}));
}

TEST(ChatPrompt, a_default_system_prompt_and_tools_end_too) {
  const Tokenizer tokenizer = load("qwen3-cut");
  const Json talk = Json::array({message("user", "Hi")});
  const auto system_ends = [&](const std::string& name, const Json& tools) {
    const auto prompt = encode_chat(tokenizer, fixture_template(name), talk, {.tools = tools});
    return std::ranges::count(prompt.borders, Kind::kSystemEnd, &PromptBorder::kind);
  };
  EXPECT_EQ(system_ends("qwen25_like", nullptr), 1);
  EXPECT_EQ(system_ends("qwen3", nullptr), 0);
  EXPECT_EQ(system_ends("qwen3", chat_fixtures()["tools"]), 1);
}

TEST(ChatPrompt, without_a_header_token_contents_begin_turns) {
  const Tokenizer tokenizer = load("smollm2-like");
  const ChatTemplate chat = ChatTemplate::parse(
      "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}", {}, "x");
  const Json talk = Json::array({message("system", "be"), message("user", "ab"),
                                 message("assistant", ""), message("user", "xy")});
  const EncodedPrompt prompt = encode_chat(tokenizer, chat, talk, {}, {.marks = {{1}, {2}}});
  std::vector<std::string> rests;
  for (const PromptBorder& border : prompt.borders) {
    const std::vector<int32_t> rest(prompt.ids.begin() + border.position, prompt.ids.end());
    rests.push_back(concat(static_cast<int>(border.kind), tokenizer.decode(rest)));
  }
  // The question's first letter is in a token that begins before it; of an empty message there is
  // nothing to see.
  EXPECT_THAT(rests, ElementsAre("0be\n[user] ab\n[assistant] \n[user] xy\n",
                                 "0b\n[assistant] \n[user] xy\n", "1b\n[assistant] \n[user] xy\n",
                                 "2\n[assistant] \n[user] xy\n", "0xy\n"));
}

TEST(ChatPrompt, marks_may_lie_within_a_content) {
  const Tokenizer tokenizer = load("qwen3-cut");
  const Json talk = Json::array({message("user", "  one. two. ")});
  const auto rest = [&](const std::string& name, int64_t end) {
    const auto prompt =
        encode_chat(tokenizer, fixture_template(name), talk, {}, {.marks = {{0, end}}});
    const auto mark = std::ranges::find(prompt.borders, Kind::kClient, &PromptBorder::kind);
    return tokenizer.decode(std::vector(prompt.ids.begin() + mark->position, prompt.ids.end()));
  };
  EXPECT_EQ(rest("qwen3", 6), " two. <|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(rest("qwen3", 12), "<|im_start|>assistant\n");
  EXPECT_EQ(rest("llama3_like", 6), rest("llama3_like", 6));
  EXPECT_TRUE(rest("llama3_like", 6).starts_with(" two.<|eot_id|>"));
  EXPECT_ERROR(encode_chat(tokenizer, fixture_template("qwen3"), talk, {}, {.marks = {{1}}}),
               "chat: marks: expected the number of a message, 0 to 0, found 1");
}

TEST(ChatPrompt, conversations_that_begin_alike_have_the_same_borders_there) {
  const Tokenizer qwen = load("qwen3-cut");
  const Tokenizer llama = load_with("llama3-like", {{{"content", "<|start_header_id|>"}},
                                                    {{"content", "<|end_header_id|>"}},
                                                    {{"content", "<|eot_id|>"}}});
  for (const std::string name : {"qwen3", "qwen25", "llama31_like", "llama3_like", "eos_after"}) {
    const ChatTemplate chat = fixture_template(name);
    for (const Tokenizer* tokenizer : {&qwen, &llama}) {
      for (int64_t i = 0; i < 40; ++i) {
        Random random(4, {i});
        Json messages = random_conversation(random, /*with_specials=*/i % 2 == 0);
        std::vector<EncodedPrompt> prompts;
        for (int64_t turn = 0; turn < 4; ++turn) {
          prompts.push_back(encode_chat(*tokenizer, chat, messages));
          messages.push_back(message("assistant", random_text(random, false)));
          prompts.push_back(
              encode_chat(*tokenizer, chat, messages, {.add_generation_prompt = false}));
          messages.push_back(message("user", random_text(random, false)));
        }
        for (const EncodedPrompt& a : prompts) {
          for (const EncodedPrompt& b : prompts) {
            const int64_t shared = common_prefix(a.ids, b.ids);
            EXPECT_EQ(before(a.borders, shared), before(b.borders, shared)) << name << b.text;
          }
        }
      }
    }
  }
}

TEST(ChatPrompt, bos_is_there_once) {
  const Tokenizer tokenizer = load("llama3-like");
  const Json talk = Json::array({message("user", "<|begin_of_text|>Hi")});
  const std::vector<int32_t> ids =
      encode_chat(tokenizer, fixture_template("llama31_like"), talk).ids;
  const int32_t bos = *tokenizer.token_id("<|begin_of_text|>");
  EXPECT_EQ(ids.front(), bos);
  EXPECT_EQ(std::ranges::count(ids, bos), 1);
}

TEST(ChatPrompt, tells_whether_it_ends_inside_a_thought) {
  const Tokenizer tokenizer = load("qwen3-cut");
  const ChatTemplate opening = ChatTemplate::parse(
      "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
      "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}",
      {}, "x");
  const auto opens = [&](const ChatTemplate& chat, const Json& talk, ChatOptions options = {}) {
    return encode_chat(tokenizer, chat, talk, options).opens_reasoning;
  };
  const Json talk = Json::array({message("user", "<think>")});
  EXPECT_TRUE(opens(opening, talk));
  EXPECT_FALSE(opens(opening, talk, {.add_generation_prompt = false}));
  EXPECT_FALSE(opens(fixture_template("qwen3"), talk));
  EXPECT_FALSE(opens(fixture_template("qwen3"), talk, {.enable_thinking = false}));
  Json thought = talk;
  thought.push_back({{"role", "assistant"}, {"content", ""}, {"reasoning_content", "hm"}});
  EXPECT_TRUE(opens(fixture_template("qwen3"), thought, {.continue_final_message = true}));
  thought[1]["content"] = "So";
  EXPECT_FALSE(opens(fixture_template("qwen3"), thought, {.continue_final_message = true}));
}

TEST(ChatPrompt, a_final_message_goes_on) {
  const auto text = [&](const std::string& name, const Json& talk) {
    return join_pieces(
        fixture_template(name).render_pieces(talk, {.continue_final_message = true}));
  };
  Json talk = Json::array({message("user", "Count"), message("assistant", "One, ")});
  EXPECT_EQ(text("plain_chatml", talk),
            "<|im_start|>user\nCount<|im_end|>\n<|im_start|>assistant\nOne, ");
  EXPECT_TRUE(text("llama3_like", talk).ends_with("assistant<|end_header_id|>\n\nOne,"));
  talk[1]["content"] = "";
  EXPECT_EQ(text("plain_chatml", talk),
            "<|im_start|>user\nCount<|im_end|>\n<|im_start|>assistant\n");
  talk[1]["tool_calls"] = Json::array({1});
  EXPECT_ERROR(text("plain_chatml", talk),
               "chat: continue_final_message: expected a last message without tool calls");
  talk.erase(1);
  EXPECT_ERROR(text("plain_chatml", talk),
               "chat: continue_final_message: expected a last message of the assistant, found one "
               "of user");
}

}  // namespace
}  // namespace hypenet
