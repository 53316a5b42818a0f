// Where a byte of the rendering comes from tells what may be a special token and which message it
// belongs to.
#include "text/chat_prompt.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

#include "text/unicode.h"

namespace hypenet {
namespace {

using Kind = PromptBorder::Kind;

/// A rendering, its tokens and the bytes of its pieces.
struct Prompt {
  std::vector<JinjaPiece> pieces;
  std::vector<TextSpan> spans;  // of each piece
  TokenizedText tokens;

  size_t begin_of(int64_t position) const { return tokens.begins[static_cast<size_t>(position)]; }

  /// The first token that begins at a byte or behind it.
  int64_t position_at(size_t byte) const {
    return std::ranges::lower_bound(tokens.begins, byte) - tokens.begins.begin();
  }
};

bool is_system(const Json& message) {
  return message["role"] == "system" || message["role"] == "developer";
}

std::vector<TextSpan> spans_of(const std::vector<JinjaPiece>& pieces) {
  std::vector<TextSpan> spans;
  size_t begin = 0;
  for (const JinjaPiece& piece : pieces) {
    spans.push_back({begin, begin + piece.text.size()});
    begin = spans.back().end;
  }
  return spans;
}

Prompt tokenize(const Tokenizer& tokenizer, std::vector<JinjaPiece> pieces, const std::string& text,
                const PromptOptions& options) {
  Prompt prompt{std::move(pieces), {}, {}};
  prompt.spans = spans_of(prompt.pieces);
  std::vector<TextSpan> plain;
  for (size_t i = 0; i < prompt.pieces.size() && !options.specials_in_messages; ++i) {
    if (prompt.pieces[i].is_given) plain.push_back(prompt.spans[i]);
  }
  prompt.tokens = tokenizer.encode_spans(text, plain, options.known);
  return prompt;
}

/// The token of a turn's header, where the vocabulary has it.
std::optional<int32_t> header_of(const Tokenizer& tokenizer, const ChatTemplate& chat) {
  const std::vector<int32_t> ids = tokenizer.encode(chat.turn_token());
  return ids.size() == 1 ? std::optional(ids[0]) : std::nullopt;
}

std::vector<int64_t> find_turns(const Prompt& prompt, std::optional<int32_t> header) {
  std::vector<int64_t> turns;
  if (header) {
    for (size_t i = 0; i < prompt.tokens.ids.size(); ++i) {
      if (prompt.tokens.ids[i] == *header) turns.push_back(static_cast<int64_t>(i));
    }
    return turns;
  }
  int64_t last = -1;
  for (size_t i = 0; i < prompt.pieces.size(); ++i) {
    const int64_t message = prompt.pieces[i].message;
    if (message < 0 || message == last) continue;
    last = message;
    const int64_t position = prompt.position_at(prompt.spans[i].begin);
    const bool is_known = !turns.empty() && turns.back() == position;
    if (!is_known && position < std::ssize(prompt.tokens.ids)) turns.push_back(position);
  }
  return turns;
}

/// Turns before which nobody but the system has said something. The first counts if anything has
/// been given before it.
std::vector<int64_t> find_system_ends(const Prompt& prompt, const Json& messages, bool has_headers,
                                      const std::vector<int64_t>& turns) {
  size_t first_given = std::string::npos, first_said = std::string::npos;
  for (size_t i = prompt.pieces.size(); i-- > 0;) {
    const JinjaPiece& piece = prompt.pieces[i];
    if (piece.is_given) first_given = prompt.spans[i].begin;
    if (piece.message >= 0 && !is_system(messages[static_cast<size_t>(piece.message)])) {
      first_said = prompt.spans[i].begin;
    }
  }
  const int64_t first_turn = has_headers ? -1 : prompt.position_at(first_said);
  std::vector<int64_t> ends;
  for (const int64_t turn : turns) {
    const size_t begin = prompt.begin_of(turn);
    // A content may begin inside a token; then its turn is at the next.
    const bool is_before = begin <= first_said || turn == first_turn;
    if (is_before && (turn != turns.front() || begin > first_given)) ends.push_back(turn);
  }
  return ends;
}

/// Where a marked message ends: at the header behind it, if no other message comes before that,
/// else behind its last byte.
std::optional<int64_t> find_end(const Prompt& prompt, int64_t message, bool has_headers,
                                const std::vector<int64_t>& turns) {
  std::optional<size_t> last;  // piece of the message, or of the last one printed before it
  for (size_t i = 0; i < prompt.pieces.size(); ++i) {
    const int64_t own = prompt.pieces[i].message;
    if (own >= 0 && own <= message && (!last || own >= prompt.pieces[*last].message)) last = i;
  }
  if (!last) return std::nullopt;
  const size_t end = prompt.spans[*last].end;
  const int64_t position = prompt.position_at(end);
  const auto turn = std::ranges::lower_bound(turns, position);
  if (!has_headers || turn == turns.end()) return position;
  size_t next = *last + 1;
  while (next < prompt.pieces.size() && prompt.pieces[next].message < 0) ++next;
  const bool is_next =
      next < prompt.pieces.size() && prompt.spans[next].begin < prompt.begin_of(*turn);
  return is_next ? position : *turn;
}

/// Where a mark lies within a message's content, if that is printed.
std::optional<int64_t> find_inner(const Prompt& prompt, std::string_view content,
                                  const MessageMark& mark) {
  const auto end = static_cast<size_t>(mark.end);
  for (size_t i = 0; i < prompt.pieces.size(); ++i) {
    const JinjaPiece& piece = prompt.pieces[i];
    const size_t begin = piece.message == mark.message ? content.find(piece.text) : content.npos;
    if (begin == content.npos || end > begin + piece.text.size()) continue;
    return prompt.position_at(prompt.spans[i].begin + std::max(end, begin) - begin);
  }
  return std::nullopt;
}

std::optional<int64_t> find_mark(const Prompt& prompt, const Json& messages,
                                 const MessageMark& mark, bool has_headers,
                                 const std::vector<int64_t>& turns) {
  HYPENET_CHECK(mark.message >= 0 && mark.message < std::ssize(messages),
                "chat: marks: expected the number of a message, 0 to ", messages.size() - 1,
                ", found ", mark.message);
  const Json& message = messages[static_cast<size_t>(mark.message)];
  if (mark.end >= 0 && message.contains("content") && message["content"].is_string()) {
    const std::string& content = message["content"].get_ref<const std::string&>();
    const bool is_inner = mark.end < std::ssize(content);
    const auto inner = is_inner ? find_inner(prompt, content, mark) : std::nullopt;
    if (inner) return inner;
  }
  return find_end(prompt, mark.message, has_headers, turns);
}

/// Whether the last <think> behind all messages, but the one that goes on, is open.
bool ends_in_reasoning(const std::vector<JinjaPiece>& pieces, int64_t continued) {
  std::string tail;
  for (const JinjaPiece& piece : pieces) {
    const bool is_said = piece.message >= 0 && piece.message != continued;
    if (is_said) tail.clear();
    if (!piece.is_given || piece.message == continued) tail += piece.text;
  }
  const size_t open = tail.rfind("<think>"), close = tail.rfind("</think>");
  return open != tail.npos && (close == tail.npos || close < open);
}

}  // namespace

EncodedPrompt encode_chat(const Tokenizer& tokenizer, const ChatTemplate& chat,
                          const Json& messages, const ChatOptions& options,
                          const PromptOptions& prompt_options) {
  std::vector<JinjaPiece> pieces = chat.render_pieces(messages, options);
  for (JinjaPiece& piece : pieces) {
    if (!is_utf8(piece.text)) piece.text = replace_invalid_utf8(piece.text);
  }
  EncodedPrompt result;
  result.text = join_pieces(pieces);
  if (prompt_options.on_text) prompt_options.on_text(result.text);
  result.opens_reasoning = ends_in_reasoning(
      pieces, options.continue_final_message ? std::ssize(messages) - 1 : std::ssize(messages));
  Prompt prompt = tokenize(tokenizer, std::move(pieces), result.text, prompt_options);
  const std::optional<int32_t> header = header_of(tokenizer, chat);
  const std::vector<int64_t> turns = find_turns(prompt, header);
  for (const int64_t turn : turns) result.borders.push_back({turn, Kind::kTurn});
  for (const int64_t turn : find_system_ends(prompt, messages, header.has_value(), turns)) {
    result.borders.push_back({turn, Kind::kSystemEnd});
  }
  for (const MessageMark& mark : prompt_options.marks) {
    const auto position = find_mark(prompt, messages, mark, header.has_value(), turns);
    if (position) result.borders.push_back({*position, Kind::kClient});
  }
  const auto place = [](const PromptBorder& border) {
    return std::pair(border.position, border.kind);
  };
  std::ranges::sort(result.borders, {}, place);
  result.borders.erase(std::unique(result.borders.begin(), result.borders.end()),
                       result.borders.end());
  result.ids = std::move(prompt.tokens.ids);
  return result;
}

}  // namespace hypenet
