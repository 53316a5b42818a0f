// Only places after . ? ! are looked at: the word before and the word after decide. Positions are
// bytes; a character beyond ASCII matters as white space, as a letter and for its case.
#include "eval/python/sentences.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "text/unicode.h"

namespace hypenet {
namespace {

// Bits of PunktParameters::orthography: case of the first letter, by place in the sentence.
constexpr int kInsideUpper = 1 << 2, kFirstLower = 1 << 4;
constexpr int kAnyUpper = (1 << 1) | (1 << 2) | (1 << 3);
constexpr int kAnyLower = (1 << 4) | (1 << 5) | (1 << 6);

constexpr std::string_view kNumber = "##number##";
constexpr std::string_view kSentenceEnds = ".?!";
constexpr std::string_view kNeverInWords = ")\";}]*:@'({[?!";
constexpr std::string_view kNeverFirstInWords = "(\"`{[:;&#*@)}]-,";
constexpr std::string_view kClosers = "\"')]}";
constexpr std::string_view kPlainSpaces = " \t\n\r\v\f";

bool is_one_of(char c, std::string_view set) { return set.find(c) != set.npos; }

/// Bytes of the white space character at `at`; 0 if there is none.
size_t space_size(std::string_view text, size_t at) {
  if (at >= text.size()) return 0;
  const Utf8Step step = read_utf8(text, at);
  return is_python_space(step.code) ? step.size : 0;
}

size_t character_size(std::string_view text, size_t at) {
  return static_cast<unsigned char>(text[at]) < 0x80 ? 1 : read_utf8(text, at).size;
}

size_t skip_spaces(std::string_view text, size_t at) {
  for (size_t size = space_size(text, at); size > 0; size = space_size(text, at)) at += size;
  return at;
}

size_t skip_to_space(std::string_view text, size_t at) {
  while (at < text.size() && space_size(text, at) == 0) at += character_size(text, at);
  return at;
}

std::string_view without_trailing_spaces(std::string_view text) {
  size_t end = text.size();
  while (end > 0) {
    size_t begin = end - 1;
    while (begin > 0 && (static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) --begin;
    if (space_size(text, begin) != end - begin) break;
    end = begin;
  }
  return text.substr(0, end);
}

/// Bytes of dashes, dots, or dots with spaces between them at `at`; 0 if there are none.
size_t punctuation_run(std::string_view text, size_t at) {
  const char c = at < text.size() ? text[at] : ' ';
  if (c != '-' && c != '.') return 0;
  const size_t same = std::min(text.find_first_not_of(c, at), text.size()) - at;
  if (same >= 2) return same;
  if (c == '-') return 0;
  std::vector<size_t> dots = {at};  // each followed by a space, but for the last
  for (size_t size = 0; (size = space_size(text, dots.back() + 1)) > 0;) {
    const size_t next = dots.back() + 1 + size;
    if (next >= text.size() || text[next] != '.') break;
    dots.push_back(next);
  }
  return dots.size() >= 3 ? dots.back() + 1 - at : 0;
}

bool is_word_broken(std::string_view text, size_t at) {
  return at >= text.size() || space_size(text, at) > 0 || is_one_of(text[at], kNeverInWords) ||
         punctuation_run(text, at) > 0;
}

/// Where the word that begins at `at` ends. It has at least one character.
size_t end_of_word(std::string_view text, size_t at) {
  for (at += character_size(text, at);; at += character_size(text, at)) {
    if (is_word_broken(text, at)) return at;
    if (text[at] == ',' && is_word_broken(text, at + 1)) return at;
  }
}

/// Words, with a period that ends them, and punctuation, of one line.
void append_words(std::string_view line, std::vector<std::string_view>& words) {
  for (size_t at = skip_spaces(line, 0); at < line.size(); at = skip_spaces(line, at)) {
    size_t end = at + punctuation_run(line, at);
    if (end == at) {
      end = is_one_of(line[at], kNeverFirstInWords) ? at + 1 : end_of_word(line, at);
    }
    words.push_back(line.substr(at, end - at));
    at = end;
  }
}

bool is_number(std::string_view word) {
  if (word.starts_with('-')) word.remove_prefix(1);
  if (word.starts_with('.') || word.starts_with(',')) word.remove_prefix(1);
  return !word.empty() && is_one_of(word[0], "0123456789") &&
         word.find_first_not_of("0123456789,.-") == word.npos;
}

bool is_initial(std::string_view word) {
  const Utf8Step first = read_utf8(word, 0);
  const bool is_digit = first.code >= '0' && first.code <= '9';
  return word.substr(first.size) == "." && is_word(first.code) && !is_digit;
}

std::string without_period(const std::string& word) {
  return word.size() > 1 && word.ends_with('.') ? word.substr(0, word.size() - 1) : word;
}

/// A place where a sentence may end: after `end`. `context` runs from the word before it to the
/// word (or the one character) after it.
struct Candidate {
  size_t context_begin = 0, end = 0, context_end = 0;
  size_t next_begin = 0;  // of what follows
};

/// Whether there may be an end after the character at `at`.
std::optional<Candidate> candidate_at(std::string_view text, size_t at) {
  Candidate found;
  found.end = at + 1;
  if (found.end < text.size() && is_one_of(text[found.end], kNeverInWords)) {
    found.context_end = found.end + 1;
    found.next_begin = found.end;
    return found;
  }
  found.next_begin = skip_spaces(text, found.end);
  if (found.next_begin == found.end || found.next_begin == text.size()) return std::nullopt;
  found.context_end = skip_to_space(text, found.next_begin);
  return found;
}

/// The candidates of a text; of several in one word the last.
std::vector<Candidate> candidates(std::string_view text) {
  std::vector<Candidate> found;
  size_t word_begin = 0, word_end = 0;  // of the word before the last candidate
  for (size_t at = text.find_first_of(kSentenceEnds); at != text.npos;
       at = text.find_first_of(kSentenceEnds, at + 1)) {
    std::optional<Candidate> candidate = candidate_at(text, at);
    if (!candidate) continue;
    const size_t space = text.substr(word_end, at - word_end).find_last_of(kPlainSpaces);
    if (space != text.npos && space > 0) word_begin = word_end + space + 1;
    if (!found.empty() && word_end > word_begin) found.pop_back();
    candidate->context_begin = word_begin;
    found.push_back(*candidate);
    word_end = at;
  }
  return found;
}

struct Span {
  size_t begin = 0, end = 0;
};

/// Closing quotes and brackets that begin `text` and stand before space, the end of a line or "--":
/// bytes with the space, and without.
std::pair<size_t, size_t> closers(std::string_view text) {
  size_t end = 0;
  while (end < text.size() && is_one_of(text[end], kClosers)) {
    ++end;
    if (const size_t after = skip_spaces(text, end); after > end) return {after, end};
    if (end == text.size() || text.substr(end, 2) == "--") return {end, end};
  }
  return {0, 0};
}

/// Moves closing punctuation to the sentence that it closes.
std::vector<std::string_view> realigned(std::string_view text, const std::vector<Span>& spans) {
  std::vector<std::string_view> sentences;
  size_t moved = 0;
  for (size_t i = 0; i < spans.size(); ++i) {
    const size_t begin = spans[i].begin + moved;
    size_t end = spans[i].end;
    std::pair<size_t, size_t> closing = {0, 0};
    if (i + 1 < spans.size()) {
      const Span next = spans[i + 1];
      closing = closers(text.substr(next.begin, next.end - next.begin));
      if (closing.first > 0) end = next.begin + closing.second;
    }
    moved = closing.first;
    if (begin < end) sentences.push_back(text.substr(begin, end - begin));
  }
  return sentences;
}

template <class Use>
void for_each_line(const std::filesystem::path& path, const Use& use) {
  const std::string text = read_file(path);
  int64_t number = 0;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    use(text.substr(begin, end - begin), concat(path.string(), ":", ++number));
    begin = end + 1;
  }
}

}  // namespace

PunktParameters PunktParameters::load(const std::filesystem::path& folder) {
  PunktParameters parameters;
  for_each_line(folder / "abbrev_types.txt", [&](const std::string& line, const std::string&) {
    parameters.abbreviations.insert(line);
  });
  for_each_line(folder / "sent_starters.txt", [&](const std::string& line, const std::string&) {
    parameters.sentence_starters.insert(line);
  });
  for_each_line(folder / "collocations.tab",
                [&](const std::string& line, const std::string& place) {
                  HYPENET_CHECK(line.find('\t') != line.npos, place,
                                ": expected two words with a tab between, found none");
                  parameters.collocations.insert(line);
                });
  for_each_line(folder / "ortho_context.tab",
                [&](const std::string& line, const std::string& place) {
                  const size_t tab = line.find('\t');
                  HYPENET_CHECK(tab != line.npos && tab + 1 < line.size() &&
                                    line.find_first_not_of("0123456789", tab + 1) == line.npos &&
                                    line.size() - tab <= 4,
                                place, ": expected a word, a tab and a number below 128");
                  parameters.orthography[line.substr(0, tab)] = std::stoi(line.substr(tab + 1));
                });
  return parameters;
}

struct SentenceSplitter::Token {
  std::string_view text;
  std::string type;  // in lower case, numbers as one word
  bool ends_sentence = false, is_abbreviation = false, is_ellipsis = false;

  std::string type_without_sentence_period() const {
    return ends_sentence ? without_period(type) : type;
  }
  char32_t first() const { return read_utf8(text, 0).code; }
  bool starts_upper() const { return lower_case(first()) != first(); }
  bool starts_lower() const { return title_case(first()) != first() && !starts_upper(); }
};

std::vector<std::string_view> SentenceSplitter::split(std::string_view text) const {
  std::vector<Span> spans;
  size_t begin = 0;
  for (const Candidate& candidate : candidates(text)) {
    const size_t size = candidate.context_end - candidate.context_begin;
    if (!has_break_inside(text.substr(candidate.context_begin, size))) continue;
    spans.push_back({begin, candidate.end});
    begin = candidate.next_begin;
  }
  spans.push_back({begin, without_trailing_spaces(text).size()});
  return realigned(text, spans);
}

bool SentenceSplitter::has_break_inside(std::string_view context) const {
  std::vector<std::string_view> words;
  for (size_t begin = 0; begin <= context.size();) {
    const size_t end = std::min(context.find('\n', begin), context.size());
    append_words(context.substr(begin, end - begin), words);
    begin = end + 1;
  }
  std::vector<Token> tokens;
  tokens.reserve(words.size());
  for (const std::string_view word : words) tokens.push_back(classify_alone(word));
  for (size_t i = 0; i + 1 < tokens.size(); ++i) {
    classify_by_next(tokens[i], tokens[i + 1]);
    if (tokens[i].ends_sentence) return true;
  }
  return false;
}

SentenceSplitter::Token SentenceSplitter::classify_alone(std::string_view text) const {
  Token token;
  token.text = text;
  std::string lower = lower_case(text);
  if (text.size() == 1 && is_one_of(text[0], kSentenceEnds)) {
    token.ends_sentence = true;
  } else if (text.size() >= 2 && text.find_first_not_of('.') == text.npos) {
    token.is_ellipsis = true;
  } else if (text.ends_with('.') && !text.ends_with("..")) {
    const std::string word = lower.substr(0, lower.size() - 1);
    const auto& known = parameters_.abbreviations;
    token.is_abbreviation =
        known.contains(word) || known.contains(word.substr(word.rfind('-') + 1));
    token.ends_sentence = !token.is_abbreviation;
  }
  token.type = is_number(lower) ? std::string(kNumber) : std::move(lower);
  return token;
}

void SentenceSplitter::classify_by_next(Token& token, const Token& next) const {
  if (!token.text.ends_with('.')) return;
  const std::string type = without_period(token.type);
  const std::string next_type = next.type_without_sentence_period();
  const bool stands_for_name = is_initial(token.text);
  if (parameters_.collocations.contains(concat(type, "\t", next_type))) {
    token.ends_sentence = false;
    return;
  }
  if ((token.is_abbreviation || token.is_ellipsis) && !stands_for_name) {
    if (starts_sentence(next) == Starts::kYes ||
        (next.starts_upper() && parameters_.sentence_starters.contains(next_type))) {
      token.ends_sentence = true;
      return;
    }
  }
  if (!stands_for_name && type != kNumber) return;
  const Starts starts = starts_sentence(next);
  const bool is_name_next = starts == Starts::kUnknown && stands_for_name && next.starts_upper() &&
                            (orthography(next_type) & kAnyLower) == 0;
  if (starts == Starts::kNo || is_name_next) token.ends_sentence = false;
}

SentenceSplitter::Starts SentenceSplitter::starts_sentence(const Token& token) const {
  if (token.text.size() == 1 && is_one_of(token.text[0], ";:,.!?")) return Starts::kNo;
  const int seen = orthography(token.type_without_sentence_period());
  if (token.starts_upper() && (seen & kAnyLower) != 0 && (seen & kInsideUpper) == 0) {
    return Starts::kYes;
  }
  if (token.starts_lower() && ((seen & kAnyUpper) != 0 || (seen & kFirstLower) == 0)) {
    return Starts::kNo;
  }
  return Starts::kUnknown;
}

int SentenceSplitter::orthography(const std::string& word) const {
  const auto found = parameters_.orthography.find(word);
  return found == parameters_.orthography.end() ? 0 : found->second;
}

}  // namespace hypenet
