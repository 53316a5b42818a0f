// Tools, calls and results of templates that read none.
#include "serve/told_tools.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "serve/api/anthropic_form.h"
#include "serve/prepare.h"
#include "tests/serve/fixture.h"
#include "tests/text/chat_fixture.h"

namespace hypenet {
namespace {

ServedFolder served(const std::string& name, ToolFormat format) {
  ServedFolder folder{.model = served_model(),
                      .tokenizer = Tokenizer::load(std::filesystem::path(HYPENET_SOURCE) /
                                                   "models" / "tiny-teacher"),
                      .chat = ChatTemplate::named(name)};
  folder.tool_format = format;
  folder.puts_tools_in_system = format == ToolFormat::kHermes;
  return folder;
}

Json body_of(const char* messages) { return {{"messages", Json::parse(messages)}}; }

std::string prompt(const ServedFolder& folder, const Json& body) {
  return encode_prompt(folder, parse_chat_request(body, folder.model)).text;
}

constexpr const char* kTalk = R"([
  {"role": "user", "content": "Weather?"},
  {"role": "assistant", "content": null, "tool_calls": [{"id": "1", "type": "function",
    "function": {"name": "weather", "arguments": "{\"city\":\"Bonn\",\"days\":2}"}}]},
  {"role": "tool", "tool_call_id": "1", "content": "sunny, 20 C"}])";

TEST(ToldTools, earlier_calls_are_told_in_the_form_of_the_flag) {
  const auto chatml = [](const std::string& call) {
    return "<|im_start|>user\nWeather?<|im_end|>\n<|im_start|>assistant\n" + call +
           "<|im_end|>\n<|im_start|>user\n<tool_response>\nsunny, 20 C\n</tool_response>"
           "<|im_end|>\n<|im_start|>assistant\n";
  };
  EXPECT_EQ(prompt(served("chatml", ToolFormat::kHermes), body_of(kTalk)),
            chatml("<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Bonn\", "
                   "\"days\": 2}}\n</tool_call>"));
  EXPECT_EQ(prompt(served("chatml", ToolFormat::kQwen3Coder), body_of(kTalk)),
            chatml("<tool_call>\n<function=weather>\n<parameter=city>\nBonn\n</parameter>\n"
                   "<parameter=days>\n2\n</parameter>\n</function>\n</tool_call>"));
  const std::string llama =
      "{\"name\": \"weather\", \"parameters\": {\"city\": \"Bonn\", \"days\": 2}}";
  EXPECT_EQ(prompt(served("chatml", ToolFormat::kLlama3Json), body_of(kTalk)), chatml(llama));
  const std::string text = prompt(served("llama3", ToolFormat::kLlama3Json), body_of(kTalk));
  EXPECT_NE(text.find("assistant<|end_header_id|>\n\n" + llama +
                      "<|eot_id|><|start_header_id|>ipython<|end_header_id|>\n\nsunny, 20 C<|eot"),
            text.npos)
      << text;
}

TEST(ToldTools, content_calls_and_results_side_by_side_are_all_kept) {
  const Json body = body_of(R"([
    {"role": "user", "content": "Weather?"},
    {"role": "assistant", "content": "I look.", "tool_calls": [
      {"function": {"name": "f", "arguments": ""}},
      {"function": {"name": "g", "arguments": "no JSON"}}]},
    {"role": "tool", "content": "A"}, {"role": "tool", "content": "B"},
    {"role": "user", "content": "So?"}])");
  EXPECT_EQ(prompt(served("chatml", ToolFormat::kHermes), body),
            "<|im_start|>user\nWeather?<|im_end|>\n<|im_start|>assistant\nI look.\n<tool_call>\n"
            "{\"name\": \"f\", \"arguments\": {}}\n</tool_call>\n<tool_call>\n"
            "{\"name\": \"g\", \"arguments\": no JSON}\n</tool_call><|im_end|>\n<|im_start|>user\n"
            "<tool_response>\nA\n</tool_response>\n<tool_response>\nB\n</tool_response><|im_end|>\n"
            "<|im_start|>user\nSo?<|im_end|>\n<|im_start|>assistant\n");
}

TEST(ToldTools, anthropics_blocks_are_told_the_same) {
  const ServedFolder folder = served("chatml", ToolFormat::kHermes);
  const Json body = {{"max_tokens", 5}, {"messages", Json::parse(R"([
    {"role": "user", "content": "Weather?"},
    {"role": "assistant", "content": [
      {"type": "tool_use", "id": "1", "name": "weather", "input": {"city": "Bonn", "days": 2}}]},
    {"role": "user", "content": [
      {"type": "tool_result", "tool_use_id": "1", "content": "sunny, 20 C"}]}])")}};
  EXPECT_EQ(encode_prompt(folder, parse_anthropic_request(body, folder.model)).text,
            prompt(folder, body_of(kTalk)));
}

TEST(ToldTools, templates_that_read_calls_get_them_as_they_are) {
  ServedFolder folder = served("chatml", ToolFormat::kHermes);
  EXPECT_FALSE(folder.chat->reads_calls());
  folder.chat = fixture_template("qwen3");
  EXPECT_TRUE(folder.chat->reads_calls());
  const ChatRequest chat = parse_chat_request(body_of(kTalk), folder.model);
  EXPECT_EQ(encode_prompt(folder, chat).text,
            join_pieces(folder.chat->render_pieces(chat.messages, {})));
}

TEST(ToldTools, marks_move_with_their_texts) {
  const ServedFolder folder = served("chatml", ToolFormat::kHermes);
  Json body = body_of(R"([
    {"role": "user", "content": [{"type": "text", "text": "Wea"},
      {"type": "text", "text": "ther?", "cache_control": {"type": "ephemeral"}}]},
    {"role": "assistant", "content": "", "cache_control": {"type": "ephemeral"},
      "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]},
    {"role": "tool", "content": "A"},
    {"role": "tool", "content": [
      {"type": "text", "text": "B", "cache_control": {"type": "ephemeral"}},
      {"type": "text", "text": "C"}]}])");
  body["tools"] = chat_fixtures()["tools"];
  const ChatRequest told = with_tools_in_system(
      with_calls_as_text(parse_chat_request(body, folder.model), folder.tool_format, *folder.chat));
  std::vector<std::string> marked;
  for (const CacheMark& mark : told.marks) {
    const Json& message = told.messages.at(static_cast<size_t>(mark.message));
    marked.push_back(
        message["content"].get<std::string>().substr(0, static_cast<size_t>(mark.end)));
  }
  EXPECT_EQ(marked,
            (std::vector<std::string>{
                "Weather?", "<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call>",
                "<tool_response>\nA\n</tool_response>\n<tool_response>\nB"}));
}

TEST(ToldTools, what_cannot_be_told_is_refused) {
  const auto error = [](const char* name, const Json& body) -> std::string {
    try {
      prompt(served(name, ToolFormat::kNone), body);
    } catch (const ApiError& refused) {
      return concat(refused.code(), ": ", refused.what());
    }
    return "accepted";
  };
  EXPECT_EQ(error("chatml", body_of(kTalk)),
            "tools_unsupported: messages: expected a chat template that reads calls of tools and "
            "their results, found one that does not; --tool-format hermes writes them into the "
            "messages");
  Json body = body_of(R"([{"role": "user", "content": "Weather?"}])");
  EXPECT_EQ(error("none", body), "accepted");
  body["tools"] = chat_fixtures()["tools"];
  EXPECT_EQ(error("none", body),
            "tools_unsupported: tools: expected a chat template that reads them, found none "
            "(template none); --tool-format hermes writes them into the messages");
}

}  // namespace
}  // namespace hypenet
