// An answer does not depend on how its text is cut into tokens; nothing of it is lost, and the
// bytes of a delta's tokens are its text.
#include "serve/text/answer_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <ostream>
#include <string>
#include <vector>

#include "base/random.h"
#include "tests/support/byte_tokenizer.h"
#include "tests/text/chat_fixture.h"
#include "tests/text/fixture.h"
#include "text/unicode.h"

namespace hypenet {
namespace {

using std::filesystem::path;
using testing::ElementsAre;
using testing::IsEmpty;

struct Call {
  std::string name, arguments;
  bool operator==(const Call&) const = default;
};

struct Read {
  std::string content, reasoning;
  std::vector<Call> calls;
  bool found_stop = false;

  bool operator==(const Read&) const = default;
};

void PrintTo(const Read& read, std::ostream* out) {
  *out << "content \"" << read.content << "\" reasoning \"" << read.reasoning << "\""
       << (read.found_stop ? " stopped" : "");
  for (const Call& call : read.calls) *out << " " << call.name << call.arguments;
}

void add(const AnswerDelta& delta, Read& read) {
  EXPECT_TRUE(is_utf8(delta.text));
  switch (delta.kind) {
    case AnswerDelta::Kind::kContent: {
      std::string bytes;
      for (const AnswerToken& token : delta.tokens) bytes += token.bytes;
      EXPECT_EQ(replace_invalid_utf8(bytes), delta.text);
      EXPECT_FALSE(delta.text.empty());
      read.content += delta.text;
      break;
    }
    case AnswerDelta::Kind::kReasoning:
      EXPECT_FALSE(delta.text.empty());
      read.reasoning += delta.text;
      break;
    case AnswerDelta::Kind::kToolCall:
      EXPECT_EQ(delta.tool_index, std::ssize(read.calls));
      EXPECT_EQ(delta.text, "");
      read.calls.push_back({delta.tool_name, ""});
      break;
    case AnswerDelta::Kind::kToolArguments:
      EXPECT_EQ(delta.tool_index, std::ssize(read.calls) - 1);
      read.calls.back().arguments += delta.text;
      break;
  }
}

Read read_ids(const Tokenizer& tokenizer, const std::vector<int32_t>& ids,
              const AnswerSetting& setting) {
  AnswerText text(tokenizer, setting);
  Read read;
  for (const int32_t id : ids) {
    const AnswerText::Step step = text.push({.id = id});
    for (const AnswerDelta& delta : step.deltas) add(delta, read);
    read.found_stop = read.found_stop || step.found_stop;
  }
  for (const AnswerDelta& delta : text.finish().deltas) add(delta, read);
  EXPECT_EQ(text.tool_calls(), std::ssize(read.calls));
  return read;
}

/// A city is a text, days are a number.
ToolList weather() { return std::make_shared<const Json>(chat_fixtures()["tools"]); }

/// Every byte a token, markers text.
const Tokenizer& bytes() {
  static const Tokenizer kTokenizer = [] {
    const TemporaryFolder folder;
    testing_support::write_byte_tokenizer(folder.path());
    return Tokenizer::load(folder.path());
  }();
  return kTokenizer;
}

/// Qwen3's markers are tokens.
const Tokenizer& qwen() {
  static const Tokenizer kTokenizer = Tokenizer::load(tokenizer_data() / "qwen3-cut");
  return kTokenizer;
}

/// Whole words are tokens, some of which hold borders of markers and of stop strings.
const Tokenizer& pieces() {
  static const Tokenizer kTokenizer = [] {
    Json definition = read_json(tokenizer_data() / "smollm2-like" / "tokenizer.json");
    int64_t id = 700;
    for (const std::string text :
         {"x<tool", "_call>\n{\"", "}}\n</", "tool_call>y", " \n<", "think>\n\n", "</think>\n",
          "stop", "sto", "p!", "\u65e5\u672c", "{\"name\": \"f\"", "\"arguments\": {", "}}",
          "<|python", "_tag|>{"}) {
      definition["added_tokens"].push_back({{"id", id++},
                                            {"content", text},
                                            {"single_word", false},
                                            {"lstrip", false},
                                            {"rstrip", false},
                                            {"normalized", false},
                                            {"special", false}});
    }
    return load_json(definition);
  }();
  return kTokenizer;
}

Read read_text(const Tokenizer& tokenizer, const std::string& text, const AnswerSetting& setting) {
  return read_ids(tokenizer, tokenizer.encode(text), setting);
}

/// The text up to the stop string that is complete first, of several the longest.
Read cut(const std::string& text, const std::vector<std::string>& stops) {
  for (size_t end = 1; end <= text.size(); ++end) {
    size_t longest = 0;
    for (const std::string& stop : stops) {
      if (std::string_view(text).substr(0, end).ends_with(stop))
        longest = std::max(longest, stop.size());
    }
    if (longest > 0) return {text.substr(0, end - longest), "", {}, true};
  }
  return {text, "", {}, false};
}

std::string join(Random& random, const std::vector<std::string>& parts, int64_t most) {
  std::string text;
  for (int64_t n = random.below(most); n > 0; --n) {
    text += parts[static_cast<size_t>(random.below(std::ssize(parts)))];
  }
  return text;
}

TEST(AnswerText, ends_where_the_whole_text_would_be_cut) {
  const std::vector<std::string> parts = {"a",    "b",  "ab",  "\u00e9", "\u65e5\u672c",
                                          "stop", "\n", "sto", " "};
  int64_t stopped = 0;
  for (int64_t i = 0; i < 2000; ++i) {
    Random random(5, {i});
    const std::string text = join(random, parts, 20);
    AnswerSetting setting;
    for (int64_t n = random.below(4); n > 0; --n) setting.stops.push_back(join(random, parts, 4));
    std::vector<std::string> stops = setting.stops;
    std::erase(stops, "");
    const Read expected = cut(text, stops);
    EXPECT_EQ(read_text(bytes(), text, setting), expected) << text;
    EXPECT_EQ(read_text(pieces(), text, setting), expected) << text;
    EXPECT_EQ(read_text(qwen(), text, setting), expected) << text;
    stopped += expected.found_stop;
  }
  EXPECT_GT(stopped, 500);
}

TEST(AnswerText, is_the_same_for_every_cut_into_tokens) {
  const std::vector<std::string> parts = {
      "<tool_call>",
      "</tool_call>",
      "\n",
      " ",
      "{\"name\": \"f\"",
      ", ",
      "\"arguments\": {",
      "}",
      "}}",
      "x",
      "<tool",
      "\"a\": 1",
      "\u65e5\u672c",
      "{",
      "<|python_tag|>",
      ";",
      "stop",
      "<think>",
      "</think>",
      "\"parameters\": {",
      "<tool_call>\n{\"name\": \"g\", \"arguments\": {\"k\": [1]}}\n</tool_call>",
      "{\"name\": \"h\", \"parameters\": {}}",
      "<function=",
      "weather>\n",
      "<parameter=days>\n",
      "<parameter=",
      "city>",
      "\n</parameter>\n",
      "</function>",
      "<tool_call>\n<function=weather>\n<parameter=city>\n\u65e5\n</parameter>\n"
      "<parameter=days>\n2\n</parameter>\n</function>\n</tool_call>"};
  int64_t calls = 0, thoughts = 0;
  for (int64_t i = 0; i < 4000; ++i) {
    Random random(6, {i});
    const std::string text = join(random, parts, 12);
    AnswerSetting setting{.has_reasoning = random.below(2) == 0};
    setting.opens_in_reasoning = setting.has_reasoning && random.below(3) == 0;
    setting.tools = static_cast<ToolFormat>(random.below(4));
    setting.tool_list = weather();
    if (random.below(4) == 0) setting.stops = {"stop"};
    const Read whole = read_text(bytes(), text, setting);
    EXPECT_EQ(read_text(pieces(), text, setting), whole) << text;
    setting.valid_calls = true;
    const Read valid = read_text(bytes(), text, setting);
    EXPECT_EQ(read_text(pieces(), text, setting), valid) << text;
    calls += std::ssize(whole.calls);
    thoughts += whole.reasoning.empty() ? 0 : 1;
  }
  EXPECT_GT(calls, 250);
  EXPECT_GT(thoughts, 300);
}

TEST(AnswerText, what_is_no_call_is_text_whole) {
  for (const ToolFormat format : {ToolFormat::kHermes, ToolFormat::kLlama3Json}) {
    for (const std::string text :
         {" a ", "<tool_call>", "<tool_call>\n{\"name\": \"f\"}\n</tool_call>\n", "x </tool_call> ",
          "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": oops}}\n</tool_call>",
          "<tool_call>{\"name\": \"f\", \"arguments\": {", "{\"answer\": 42} ", "{\"name\": \"f\"",
          "{\"name\": \"f\", \"parameters\": {}} and so", "<tool_call><tool_call>x", " {",
          "<|python_tag|>x", "{\"name\": \"f\", \"parameters\": {}}; {\"name\": \"f\"}"}) {
      const AnswerSetting setting{.tools = format};
      const bool is_call = format == ToolFormat::kHermes;
      EXPECT_EQ(read_text(bytes(), text, setting).content, text) << is_call;
      EXPECT_EQ(read_text(pieces(), text, setting).content, text) << is_call;
      if (!text.starts_with("<|python")) {
        EXPECT_EQ(read_text(qwen(), text, setting).content, text) << is_call;
      }
    }
  }
}

TEST(AnswerText, calls_of_hermes_are_taken_out) {
  const AnswerSetting setting{.tools = ToolFormat::kHermes};
  const std::string one =
      "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": \"\u00e9\"}}\n</tool_call>";
  const std::string two = "<tool_call>{\"arguments\": {}, \"name\": \"g\"}</tool_call>";
  const Call f{"f", "{\"a\": \"\u00e9\"}"}, g{"g", "{}"};
  for (const Tokenizer* tokenizer : {&bytes(), &qwen(), &pieces()}) {
    const auto read = [&](const std::string& text) { return read_text(*tokenizer, text, setting); };
    EXPECT_EQ(read(one), (Read{"", "", {f}}));
    EXPECT_EQ(read("I look.\n" + one + "\n" + two + "\n"), (Read{"I look.", "", {f, g}}));
    EXPECT_EQ(read(one + "\n\nDone.\n"), (Read{"\n\nDone.\n", "", {f}}));
    EXPECT_EQ(read("<tool_call>x " + two), (Read{"<tool_call>x", "", {g}}));
    // Without its end, and two between one pair of markers.
    EXPECT_EQ(read(one.substr(0, one.find("\n</"))), (Read{"", "", {f}}));
    EXPECT_EQ(read("<tool_call>{\"name\": \"g\", \"arguments\": {}}\n" + one.substr(12)),
              (Read{"", "", {g, f}}));
  }
}

TEST(AnswerText, calls_in_tags_are_taken_out) {
  const AnswerSetting setting{.tools = ToolFormat::kQwen3Coder, .tool_list = weather()};
  const std::string one =
      "<tool_call>\n<function=weather>\n<parameter=city>\nK\u00f6ln \"Mitte\"\n</parameter>\n"
      "<parameter=days>\n2\n</parameter>\n</function>\n</tool_call>";
  const std::string two = "<tool_call>\n<function=items>\n</function>\n</tool_call>";
  const Call f{"weather", "{\"city\": \"K\u00f6ln \\\"Mitte\\\"\", \"days\": 2}"}, g{"items", "{}"};
  for (const Tokenizer* tokenizer : {&bytes(), &qwen(), &pieces()}) {
    for (const bool valid : {false, true}) {
      AnswerSetting held = setting;
      held.valid_calls = valid;
      const auto read = [&](const std::string& text) { return read_text(*tokenizer, text, held); };
      EXPECT_EQ(read(one), (Read{"", "", {f}}));
      EXPECT_EQ(read("I look.\n\n" + one + "\n" + two + "\n"), (Read{"I look.", "", {f, g}}));
      EXPECT_EQ(read(one + "\n\nDone."), (Read{"\n\nDone.", "", {f}}));
      // Without its end, and two between one pair of markers.
      EXPECT_EQ(read(two.substr(0, two.find("\n</tool"))), (Read{"", "", {g}}));
      EXPECT_EQ(read("<tool_call><function=items></function>\n" + one.substr(12)),
                (Read{"", "", {g, f}}));
      EXPECT_EQ(read(two.substr(0, two.find("</tool")) + "<functional"),
                (Read{"\n<functional", "", {g}}));
    }
    const std::string broken = "<tool_call>\n<function=weather>\n<parameter=city>\nx\n</function>";
    EXPECT_EQ(read_text(*tokenizer, broken, setting), (Read{broken, "", {}}));
    EXPECT_EQ(read_text(*tokenizer, "<function=items></function>", setting),
              (Read{"<function=items></function>", "", {}}));
  }
}

TEST(AnswerText, what_a_template_prints_of_calls_is_read_back) {
  const Json& talk = chat_fixtures()["tool_conversations"][2];
  for (const std::string name : {"qwen25", "qwen3", "qwen3_instruct_2507", "qwen3_5_think"}) {
    const ChatTemplate chat = fixture_template(name);
    const std::string text =
        join_pieces(chat.render_pieces(talk, {.add_generation_prompt = false}));
    const size_t begin = text.find("I look."), end = text.find("<|im_end|>", begin);
    ASSERT_NE(end, std::string::npos);
    const Read read = read_text(qwen(), text.substr(begin, end - begin),
                                {.tools = tool_format_of(chat), .tool_list = weather()});
    EXPECT_EQ(read.content, "I look.") << name;
    ASSERT_EQ(read.calls.size(), 2U) << name;
    for (size_t i = 0; i < 2; ++i) {
      const Json& call = talk[2]["tool_calls"][i]["function"];
      EXPECT_EQ(read.calls[i].name, call["name"].get<std::string>());
      EXPECT_EQ(parse_json(read.calls[i].arguments, name), call["arguments"]);
    }
  }
}

TEST(AnswerText, a_text_in_tags_is_told_while_it_comes) {
  const std::string text =
      "<tool_call><function=weather><parameter=city>\nK\u00f6ln\n</parameter></function>";
  AnswerText answer(
      bytes(), {.tools = ToolFormat::kQwen3Coder, .valid_calls = true, .tool_list = weather()});
  std::string told;
  size_t size = 0;
  for (const char byte : text.substr(0, text.find("\n</parameter"))) {
    ++size;
    for (const AnswerDelta& delta : answer.push({.id = static_cast<unsigned char>(byte)}).deltas) {
      if (delta.kind == AnswerDelta::Kind::kToolArguments) told += delta.text;
      if (delta.kind == AnswerDelta::Kind::kToolCall) {
        EXPECT_EQ(size, text.find("<parameter"));
      }
    }
  }
  EXPECT_EQ(told, "{\"city\": \"K\u00f6ln");
}

TEST(AnswerText, calls_of_llama_are_the_whole_answer_or_behind_their_tag) {
  const AnswerSetting setting{.tools = ToolFormat::kLlama3Json};
  const std::string one = "{\"name\": \"f\", \"parameters\": {\"a\": 1}}";
  const Call f{"f", "{\"a\": 1}"};
  for (const Tokenizer* tokenizer : {&bytes(), &pieces()}) {
    const auto read = [&](const std::string& text) { return read_text(*tokenizer, text, setting); };
    EXPECT_EQ(read(one), (Read{"", "", {f}}));
    EXPECT_EQ(read("\n" + one + "; " + one + "\n"), (Read{"", "", {f, f}}));
    EXPECT_EQ(read("So: <|python_tag|>" + one), (Read{"So:", "", {f}}));
    EXPECT_EQ(read("So: " + one), (Read{"So: " + one, "", {}}));
    EXPECT_EQ(read(one + " is a call"), (Read{one + " is a call", "", {}}));
  }
}

TEST(AnswerText, calls_that_are_valid_are_told_while_they_come) {
  const std::string text =
      "Hi \n<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": \"\u00e9\"}}</tool_call>";
  AnswerText answer(bytes(), {.tools = ToolFormat::kHermes, .valid_calls = true});
  std::vector<size_t> told;
  size_t size = 0, named = 0;
  for (const char byte : text) {
    ++size;
    for (const AnswerDelta& delta : answer.push({.id = static_cast<unsigned char>(byte)}).deltas) {
      if (delta.kind == AnswerDelta::Kind::kToolCall) named = size;
      if (delta.kind == AnswerDelta::Kind::kToolArguments) told.push_back(size);
    }
  }
  EXPECT_THAT(answer.finish().deltas, IsEmpty());
  const size_t begin = text.find("{\"a\"");
  EXPECT_EQ(told.size(), std::string("{\"a\": \"e\"}").size());
  EXPECT_EQ(told.front(), begin + 1);
  EXPECT_EQ(named, begin + 1);
  // Cut by its length a call has the arguments that came.
  const Read cut = read_text(bytes(), text.substr(0, begin + 4),
                             {.tools = ToolFormat::kHermes, .valid_calls = true});
  EXPECT_EQ(cut, (Read{"Hi", "", {{"f", "{\"a\""}}}));
}

TEST(AnswerText, without_a_format_calls_are_text) {
  const std::string text = "<tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call> \n";
  EXPECT_EQ(read_text(qwen(), text, {}), (Read{text, "", {}}));
}

TEST(AnswerText, thoughts_are_apart_without_the_newlines_at_their_ends) {
  const AnswerSetting setting{.has_reasoning = true};
  AnswerSetting open = setting;
  open.opens_in_reasoning = true;
  for (const Tokenizer* tokenizer : {&bytes(), &qwen(), &pieces()}) {
    const auto read = [&](const std::string& text) { return read_text(*tokenizer, text, setting); };
    EXPECT_EQ(read("<think>\na\n\nb\n</think>\n\nSo\n"), (Read{"So\n", "a\n\nb", {}}));
    EXPECT_EQ(read("\n <think>\n\n</think>\n\nSo"), (Read{"So", "", {}}));
    EXPECT_EQ(read("<think>\na\n"), (Read{"", "a", {}}));
    EXPECT_EQ(read(" \nSo"), (Read{" \nSo", "", {}}));
    EXPECT_EQ(read("So <think>a</think>"), (Read{"So <think>a</think>", "", {}}));
    EXPECT_EQ(read_text(*tokenizer, "a</think>b", open), (Read{"b", "a", {}}));
    EXPECT_EQ(read_text(*tokenizer, "<think>a</think>b", {}).content, "<think>a</think>b");
    EXPECT_EQ(read_text(*tokenizer, " \n", setting), (Read{" \n", "", {}}));
  }
  EXPECT_EQ(read_text(qwen(), "<think>\na</think>b", open), (Read{"b", "a", {}}));
  EXPECT_TRUE(has_reasoning(qwen()));
  EXPECT_FALSE(has_reasoning(bytes()));
}

TEST(AnswerText, a_marker_in_plain_tokens_is_text_where_the_vocabulary_has_it) {
  std::vector<int32_t> ids;
  for (const std::string part : {"<", "think", ">", "a", "</", "think", ">"}) {
    for (const int32_t id : qwen().encode(part)) ids.push_back(id);
  }
  EXPECT_EQ(read_ids(qwen(), ids, {.has_reasoning = true}), (Read{"<think>a</think>", "", {}}));
}

TEST(AnswerText, a_stop_string_in_a_thought_does_not_end_the_answer) {
  AnswerSetting setting{.has_reasoning = true, .stops = {"stop", "</think>\n"}};
  EXPECT_EQ(read_text(qwen(), "<think>stop</think>a stop b", setting),
            (Read{"a ", "stop", {}, true}));
  setting.stops = {"\n"};
  EXPECT_EQ(read_text(qwen(), "<think>\n</think>\n\na\nb", setting), (Read{"a", "", {}, true}));
}

TEST(AnswerText, counts_the_tokens_of_thoughts) {
  AnswerText answer(qwen(), {.has_reasoning = true});
  for (const std::string part : {"<think>", "\n", "a", "</think>", "\n\n", "b"}) {
    const std::vector<int32_t> ids = qwen().encode(part);
    ASSERT_EQ(ids.size(), 1U);
    answer.push({.id = ids[0]});
  }
  EXPECT_EQ(answer.reasoning_tokens(), 4);
}

TEST(AnswerText, tokens_behind_a_stop_are_dropped_and_the_last_is_cut) {
  AnswerText answer(pieces(), {.stops = {"p!"}});
  std::vector<AnswerToken> tokens;
  float logprob = 0;
  for (const std::string part : {"a", "stop", "p!", "b"}) {
    logprob -= 1;
    AnswerText::Step step = answer.push({.id = pieces().encode(part).at(0), .logprob = logprob});
    for (AnswerDelta& delta : step.deltas) {
      for (AnswerToken& token : delta.tokens) tokens.push_back(std::move(token));
    }
    EXPECT_EQ(step.found_stop, part == "p!");
  }
  EXPECT_THAT(answer.finish().deltas, IsEmpty());
  ASSERT_EQ(tokens.size(), 2U);
  EXPECT_EQ(tokens[0].bytes, "a");
  EXPECT_EQ(tokens[1].bytes, "stop");
  EXPECT_EQ(tokens[1].event.logprob, -2);
}

TEST(AnswerText, special_tokens_are_not_shown) {
  const int32_t end = *qwen().token_id("<|im_end|>"), a = qwen().encode("a")[0];
  EXPECT_EQ(read_ids(qwen(), {a, end, a}, {}).content, "aa");
  EXPECT_EQ(read_ids(qwen(), {a, end, a}, {.skip_special = false}).content, "a<|im_end|>a");
}

TEST(AnswerText, a_broken_character_is_told_at_the_end) {
  EXPECT_EQ(read_ids(bytes(), {'a', 0xE6, 0x97}, {}).content, "a\uFFFD");
  EXPECT_EQ(read_ids(bytes(), {0xE6, 0x97, 'a'}, {}).content, "\uFFFDa");
  AnswerText answer(bytes(), {});
  EXPECT_THAT(answer.push({.id = 0xE6}).deltas, IsEmpty());
  EXPECT_THAT(answer.push({.id = 0x97}).deltas, IsEmpty());
  EXPECT_EQ(answer.push({.id = 0xA5}).deltas.at(0).text, "\u65e5");
  EXPECT_THAT(answer.push({}).deltas, IsEmpty());
}

}  // namespace
}  // namespace hypenet
