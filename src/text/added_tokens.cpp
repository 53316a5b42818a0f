// A trie of the tokens' bytes, and the flags single_word, lstrip and rstrip.
#include "text/added_tokens.h"

#include <algorithm>

#include "text/unicode.h"

namespace hypenet {

namespace {

/// Where the last character of a non-empty text begins.
size_t last_character(std::string_view text) {
  size_t at = text.size() - 1;
  while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) --at;
  return at;
}

bool is_single_word(std::string_view before, std::string_view after) {
  const bool joins_before =
      !before.empty() && is_word(read_utf8(before, last_character(before)).code);
  const bool joins_after = !after.empty() && is_word(read_utf8(after, 0).code);
  return !joins_before && !joins_after;
}

size_t trimmed_size(std::string_view text) {
  while (!text.empty()) {
    const size_t at = last_character(text);
    if (!is_white_space(read_utf8(text, at).code)) break;
    text = text.substr(0, at);
  }
  return text.size();
}

size_t leading_space_size(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    const Utf8Step step = read_utf8(text, at);
    if (!is_white_space(step.code)) break;
    at += step.size;
  }
  return at;
}

}  // namespace

void AddedTokenFinder::add(const AddedToken& token, std::string_view content) {
  if (content.empty()) return;
  size_t node = 0;
  for (const char byte : content) {
    const auto [edge, is_new] = nodes_[node].next.try_emplace(byte, nodes_.size());
    node = edge->second;
    if (is_new) nodes_.emplace_back();
  }
  if (!nodes_[node].token) nodes_[node].token = token;
}

std::optional<AddedTokenFinder::Match> AddedTokenFinder::longest_at(std::string_view text,
                                                                    size_t at) const {
  std::optional<Match> longest;
  const Node* node = &nodes_[0];
  for (size_t i = at; i < text.size(); ++i) {
    const auto edge = node->next.find(text[i]);
    if (edge == node->next.end()) break;
    node = &nodes_[edge->second];
    if (node->token) longest = {&*node->token, i + 1 - at};
  }
  return longest;
}

std::vector<Segment> AddedTokenFinder::split(std::string_view text,
                                             std::span<const TextSpan> plain) const {
  std::vector<Segment> segments;
  size_t done = 0;
  auto span = plain.begin();
  for (size_t at = 0; at < text.size();) {
    while (span != plain.end() && span->end <= at) ++span;
    const size_t limit = span == plain.end() ? text.size() : span->begin;
    if (at >= limit) {
      at = span->end;
      continue;
    }
    const auto match = longest_at(text.substr(0, limit), at);
    if (!match) {
      ++at;
      continue;
    }
    size_t begin = at, end = at + match->size;
    // A match that is no single word is passed over whole, not looked into.
    at = end;
    const AddedToken& token = *match->token;
    if (token.single_word && !is_single_word(text.substr(0, begin), text.substr(end))) continue;
    if (token.lstrip) begin = std::max(trimmed_size(text.substr(0, begin)), done);
    if (token.rstrip) end += leading_space_size(text.substr(end));
    if (done < begin) segments.push_back({std::nullopt, text.substr(done, begin - done)});
    segments.push_back({static_cast<int32_t>(token.id), text.substr(begin, end - begin)});
    done = end;
  }
  if (done < text.size()) segments.push_back({std::nullopt, text.substr(done)});
  return segments;
}

}  // namespace hypenet
