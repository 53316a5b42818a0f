// Templates drop old thoughts, or write the last turn in another way than those before.
#include "text/turn_prefix.h"

#include <algorithm>
#include <span>

#include "text/chat_prompt.h"

namespace hypenet {
namespace {

constexpr int kTurns = 3;

/// The conversation's prompt once turn `turn` is answered.
EncodedPrompt answered(const Tokenizer& tokenizer, const ChatTemplate& chat, int turn) {
  Json messages = Json::array();
  for (int i = 1; i <= turn; ++i) {
    messages.push_back({{"role", "user"}, {"content", concat("Question ", i, "?")}});
    messages.push_back({{"role", "assistant"},
                        {"content", concat("Answer ", i, ".")},
                        {"reasoning_content", concat("Thought ", i, ".")}});
  }
  return encode_chat(tokenizer, chat, messages,
                     {.add_generation_prompt = false, .date = "26 Jul 2024"});
}

/// The tokens before `position` since the last turn's beginning.
std::span<const int32_t> last_turn(const EncodedPrompt& prompt, int64_t position) {
  int64_t begin = 0;
  for (const PromptBorder& border : prompt.borders) {
    if (border.position < position) begin = border.position;
  }
  return std::span(prompt.ids)
      .subspan(static_cast<size_t>(begin), static_cast<size_t>(position - begin));
}

}  // namespace

std::vector<TurnPrefix> turn_prefixes(const Tokenizer& tokenizer, const ChatTemplate& chat) {
  std::vector<TurnPrefix> prefixes;
  EncodedPrompt prompt = answered(tokenizer, chat, 1);
  for (int turn = 1; turn < kTurns; ++turn) {
    EncodedPrompt next = answered(tokenizer, chat, turn + 1);
    const int64_t shared = std::ranges::mismatch(prompt.ids, next.ids).in1 - prompt.ids.begin();
    prefixes.push_back(
        {turn, std::ssize(prompt.ids), shared, tokenizer.decode(last_turn(prompt, shared))});
    prompt = std::move(next);
  }
  return prefixes;
}

}  // namespace hypenet
