// Cutting, replacing and changing the case of marked texts; print.cpp tells values as texts.
#include "text/jinja/strings.h"

#include <utf8proc.h>

#include <algorithm>

#include "text/jinja/work.h"
#include "text/unicode.h"

namespace hypenet::jinja {
namespace {

constexpr size_t kMostQuoted = 60;
constexpr size_t kMostParts = 1'000'000;  // of a text that is split

/// Where the character before `end` begins.
size_t character_before(std::string_view text, size_t end) {
  size_t begin = end - 1;
  while (begin > 0 && end - begin < 4 && (static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) {
    --begin;
  }
  return read_utf8(text, begin).size == end - begin ? begin : end - 1;
}

template <class IsIn>
std::pair<size_t, size_t> stripped(std::string_view text, const IsIn& is_in, bool left,
                                   bool right) {
  size_t begin = 0, end = text.size();
  while (left && begin < end) {
    const Utf8Step step = read_utf8(text, begin);
    if (!is_in(step.code)) break;
    begin += step.size;
  }
  while (right && begin < end) {
    const size_t last = character_before(text, end);
    if (!is_in(read_utf8(text, last).code)) break;
    end = last;
  }
  return {begin, std::max(begin, end)};
}

int digit_of(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c = static_cast<char>(c | 0x20);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : 99;
}

/// Digits from `at` on, exactly `least` or up to `most` of them.
std::optional<char32_t> read_code(std::string_view text, size_t& at, int base, size_t least,
                                  size_t most) {
  uint64_t code = 0;
  size_t count = 0;
  for (; count < most && at < text.size() && digit_of(text[at]) < base; ++count, ++at) {
    code = code * static_cast<uint64_t>(base) + static_cast<uint64_t>(digit_of(text[at]));
  }
  if (count < least || code > 0x10FFFF) return std::nullopt;
  return static_cast<char32_t>(code);
}

/// The escape whose letter is at `at`.
std::optional<std::string> read_escape(std::string_view inside, size_t& at) {
  constexpr std::string_view kLetters = "abfnrtv\\'\"", kMeant = "\a\b\f\n\r\t\v\\'\"";
  const char letter = inside[at];
  if (letter == '\n') return ++at, "";
  if (const size_t which = kLetters.find(letter); which != kLetters.npos) {
    ++at;
    return std::string(1, kMeant[which]);
  }
  std::optional<char32_t> code;
  if (letter == 'x' || letter == 'u' || letter == 'U') {
    const size_t size = letter == 'x' ? 2 : letter == 'u' ? 4 : 8;
    code = read_code(inside, ++at, 16, size, size);
  } else if (letter >= '0' && letter <= '7') {
    code = read_code(inside, at, 8, 1, 3);
  } else if (letter == 'N') {
    return std::nullopt;
  } else {
    return "\\";  // the letter follows as it is
  }
  if (!code || (*code >= 0xD800 && *code <= 0xDFFF)) return std::nullopt;
  return to_utf8(*code);
}

char32_t upper_case(char32_t code) {
  return static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(code)));
}

bool is_cased(char32_t code) { return upper_case(code) != code || lower_case(code) != code; }

/// What of a text's characters is next to be upper case.
bool begins_word(Case kind, char32_t before) {
  if (kind == Case::kTitle) return !is_cased(before);
  return before == '-' || before == '(' || before == '{' || before == '[' || before == '<' ||
         is_python_space(before);
}

void add_part(std::vector<Text>& parts, Text part) {
  if (parts.size() >= kMostParts) fail("expected a text of at most ", kMostParts, " parts");
  parts.push_back(std::move(part));
}

std::vector<Text> split_at_spaces(const Text& text, int64_t most, bool from_right) {
  const std::string_view bytes = text.bytes();
  std::vector<std::pair<size_t, size_t>> words;
  for (size_t at = 0; at < bytes.size();) {
    const Utf8Step step = read_utf8(bytes, at);
    const bool is_space = is_python_space(step.code);
    if (words.size() > kMostParts) fail("expected a text of at most ", kMostParts, " parts");
    if (!is_space && (words.empty() || words.back().second != at)) words.emplace_back(at, at);
    if (!is_space) words.back().second = at + step.size;
    at += step.size;
  }
  const size_t count = words.size();
  std::vector<Text> parts;
  const size_t cuts = most < 0 ? count : static_cast<size_t>(most);
  if (count > cuts + 1 && !from_right) {
    words.resize(cuts + 1);
    words.back().second = bytes.size();
  } else if (count > cuts + 1) {
    const size_t end = words[count - cuts - 1].second;
    words.erase(words.begin(), words.end() - static_cast<int64_t>(cuts) - 1);
    words.front() = {0, end};
  }
  for (const auto& [begin, end] : words) add_part(parts, text.slice(begin, end - begin));
  return parts;
}

}  // namespace

std::string in_quotes(std::string_view text) {
  if (text.size() <= kMostQuoted) return concat("\"", text, "\"");
  const std::string_view start = text.substr(0, kMostQuoted);
  return concat("\"", start.substr(0, complete_utf8_size(start)), "...\"");
}

std::optional<std::string> unescaped(std::string_view inside) {
  std::string text;
  for (size_t at = 0; at < inside.size();) {
    if (inside[at] != '\\' || at + 1 == inside.size()) {
      text += inside[at++];
      continue;
    }
    const auto meant = read_escape(inside, ++at);
    if (!meant) return std::nullopt;
    text += *meant;
  }
  return text;
}

std::string_view strip_right(std::string_view text) {
  return text.substr(0, stripped(text, is_python_space, false, true).second);
}

std::string_view strip_left(std::string_view text) {
  return text.substr(stripped(text, is_python_space, true, false).first);
}

Text strip(const Text& text, const Text* characters, bool left, bool right) {
  std::u32string set;
  if (characters != nullptr) {
    for (size_t at = 0; at < characters->size();) {
      const Utf8Step step = read_utf8(characters->bytes(), at);
      set += step.code;
      at += step.size;
    }
    std::ranges::sort(set);
  }
  const auto is_in = [&](char32_t code) {
    return characters == nullptr ? is_python_space(code) : std::ranges::binary_search(set, code);
  };
  const auto [begin, end] = stripped(text.bytes(), is_in, left, right);
  return text.slice(begin, end - begin);
}

int64_t count_characters(std::string_view text) {
  int64_t count = 0;
  for (size_t at = 0; at < text.size(); ++count) at += read_utf8(text, at).size;
  return count;
}

std::vector<Text> split(const Text& text, const Text* separator, int64_t most, bool from_right) {
  if (separator == nullptr) return split_at_spaces(text, most, from_right);
  const std::string_view bytes = text.bytes();
  if (separator->size() == 0) fail("expected a separator, found an empty one");
  std::vector<Text> parts;
  const auto is_done = [&] { return most >= 0 && std::ssize(parts) >= most; };
  if (!from_right) {
    size_t begin = 0;
    for (size_t at = 0; !is_done() && (at = bytes.find(separator->bytes(), begin)) != bytes.npos;) {
      add_part(parts, text.slice(begin, at - begin));
      begin = at + separator->size();
    }
    add_part(parts, text.slice(begin, bytes.size() - begin));
    return parts;
  }
  size_t end = bytes.size();
  while (!is_done() && end >= separator->size()) {
    const size_t at = bytes.rfind(separator->bytes(), end - separator->size());
    if (at == bytes.npos) break;
    add_part(parts, text.slice(at + separator->size(), end - at - separator->size()));
    end = at;
  }
  add_part(parts, text.slice(0, end));
  std::ranges::reverse(parts);
  return parts;
}

std::vector<Text> split_lines(const Text& text, bool keeps_ends) {
  const std::string_view bytes = text.bytes();
  const auto is_break = [](char32_t code) {
    return (code >= 0x0A && code <= 0x0D) || (code >= 0x1C && code <= 0x1E) || code == 0x85 ||
           code == 0x2028 || code == 0x2029;
  };
  std::vector<Text> lines;
  size_t begin = 0;
  for (size_t at = 0; at < bytes.size();) {
    const Utf8Step step = read_utf8(bytes, at);
    size_t after = at + step.size;
    if (is_break(step.code)) {
      if (step.code == '\r' && bytes.substr(after).starts_with('\n')) ++after;
      add_part(lines, text.slice(begin, (keeps_ends ? after : at) - begin));
      begin = after;
    }
    at = after;
  }
  if (begin < bytes.size()) add_part(lines, text.slice(begin, bytes.size() - begin));
  return lines;
}

Text replace(Work& work, const Text& text, const Text& old, const Text& with, int64_t most) {
  Text result;
  const std::string_view bytes = text.bytes();
  size_t copied = 0, at = 0;
  for (int64_t count = 0; most < 0 || count < most; ++count) {
    at = bytes.find(old.bytes(), at);
    if (at == bytes.npos) break;
    result.append(text, copied, at - copied);
    result.append(with);
    work.text(with.size());
    work.size(result.size());
    copied = at + old.size();
    if (old.size() > 0) {
      at = copied;
    } else if (at < bytes.size()) {
      at += read_utf8(bytes, at).size;
    } else {
      break;
    }
  }
  result.append(text, copied, bytes.size() - copied);
  work.text(result.size());
  return result;
}

Text with_case(const Text& text, Case kind) {
  Text result;
  const std::string_view bytes = text.bytes();
  char32_t before = ' ';
  for (size_t at = 0; at < bytes.size();) {
    const Utf8Step step = read_utf8(bytes, at);
    const bool is_first = kind == Case::kCapital ? at == 0
                          : kind == Case::kUpper
                              ? true
                              : kind != Case::kLower && begins_word(kind, before);
    const Origin origin = text.origin_at(at);
    if (step.status != Utf8Status::kWhole) {
      result.append(bytes.substr(at, step.size), origin);
    } else if (is_first && step.code == 0xDF) {
      result.append(kind == Case::kUpper ? "SS" : "Ss", origin);
    } else if (is_first) {
      const bool is_upper = kind == Case::kUpper || kind == Case::kJinjaTitle;
      result.append(to_utf8(is_upper ? upper_case(step.code) : title_case(step.code)), origin);
    } else {
      result.append(to_utf8(lower_case(step.code)), origin);
    }
    before = step.code;
    at += step.size;
  }
  return result;
}

}  // namespace hypenet::jinja
