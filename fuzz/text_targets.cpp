// Targets of the room text. Texts are cut short: an expression may try ten million ways from each
// of their places, as in Oniguruma.
#include <cstdlib>

#include "fuzz/target.h"
#include "text/chat_template.h"
#include "text/jinja/template.h"
#include "text/pattern.h"
#include "text/stop_ids.h"
#include "text/tokenizer.h"
#include "text/unicode.h"

namespace hypenet::fuzz {
namespace {

constexpr size_t kMostText = 64;
constexpr JinjaLimits kLimits = {.turns = 10'000,
                                 .text_bytes = 1 << 20,
                                 .steps = 100'000,
                                 .items = 100'000,
                                 .made_bytes = 16 << 20};

}  // namespace

/// tokenizer.json --- tokenizer_config.json --- config.json --- a text
void read_tokenizer(std::string_view input) {
  const auto part = parts(input, 4);
  put("tokenizer.json", part[0]);
  put("tokenizer_config.json", part[1].empty() ? "{}" : part[1]);
  put("config.json", part[2].empty() ? "{}" : part[2]);
  const Tokenizer tokenizer = Tokenizer::load(folder());
  attempt([&] { read_stop_ids(folder(), tokenizer); });
  for (const std::string_view text :
       {std::string_view("It's 12 o'clock.\n\n  na\u00efve \u4e2d"),
        std::string_view("<|endoftext|>\xff\xe4\xb8"), part[3].substr(0, kMostText)}) {
    attempt([&] { tokenizer.decode(tokenizer.encode(text), /*skip_special_tokens=*/true); });
  }
}

/// an expression --- a text
void read_pattern(std::string_view input) {
  const auto part = parts(input, 2);
  const Pattern pattern = Pattern::regex(part[0], "fuzz");
  const std::string text = replace_invalid_utf8(part[1].substr(0, kMostText));
  Pattern::Search search(pattern);
  search.start(text);
  while (search.next()) {
  }
}

/// chat_template.jinja --- tokenizer_config.json
void read_chat_template(std::string_view input) {
  const auto part = parts(input, 2);
  const auto file = put("chat_template.jinja", part[0]);
  if (part[0].empty()) std::filesystem::remove(file);
  put("tokenizer_config.json", part[1].empty() ? "{}" : part[1]);
  const ChatTemplate chat = ChatTemplate::load(folder(), kLimits);
  const std::vector<ChatMessage> messages = {
      {"system", "Be brief."}, {"user", "Hi"}, {"assistant", "Hello"}, {"user", "Why?"}};
  chat.render(messages);
}

/// A template, with values of all kinds under the names of a chat's.
void read_jinja(std::string_view input) {
  const JinjaTemplate parsed = JinjaTemplate::parse(input, "fuzz");
  JinjaVariables variables;
  variables.own = {{"bos_token", "<s>"}, {"add_generation_prompt", true}, {"n", -7}, {"f", 2.5}};
  variables.given["messages"] = Json::array(
      {{{"role", "user"}, {"content", " na\u00efve \u4e2d\n\"x\" "}},
       {{"role", "tool"}, {"content", {{{"type", "text"}, {"text", ""}}}}, {"items", nullptr}}});
  variables.given["tools"] = Json::array({{{"name", "a"}, {"parameters", {{"x", {1, 2, 3}}}}}});
  variables.limits = kLimits;
  variables.now.tm_mday = 1;
  size_t size = 0;
  for (const JinjaPiece& piece : parsed.render(variables)) size += piece.text.size();
  if (size > variables.limits.text_bytes) std::abort();
}

}  // namespace hypenet::fuzz
