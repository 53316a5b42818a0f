// Text up to a tag, then the tag's words up to its end, by turns.
#include "text/jinja/lexer.h"

#include <algorithm>
#include <array>
#include <optional>

#include "text/jinja/strings.h"
#include "text/unicode.h"

namespace hypenet::jinja {
namespace {

using Kind = Token::Kind;

constexpr std::array<std::string_view, 26> kOperators = {
    "//", "**", "==", "!=", "<=", ">=", "+", "-", "*", "/", "%", "~", "(",
    ")",  "[",  "]",  "{",  "}",  ",",  ":", ".", "|", "=", "<", ">", ";"};

bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// Line breaks are \n, and one at the end is none.
std::string normalised(std::string_view source) {
  std::string text;
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r' && i + 1 < source.size() && source[i + 1] == '\n') continue;
    text += source[i] == '\r' ? '\n' : source[i];
  }
  if (text.ends_with('\n')) text.pop_back();
  return replace_invalid_utf8(text);
}

class Lexer {
 public:
  Lexer(std::string_view source, const std::string& place)
      : source_(normalised(source)), place_(place) {}

  std::vector<Token> run() {
    while (at_ < source_.size()) read_text();
    add(Kind::kEnd, "");
    return std::move(tokens_);
  }

 private:
  bool comes(std::string_view text, size_t ahead = 0) const {
    return at_ + ahead <= source_.size() &&
           std::string_view(source_).substr(at_ + ahead).starts_with(text);
  }
  char peek(size_t ahead = 0) const {
    return at_ + ahead < source_.size() ? source_[at_ + ahead] : '\0';
  }

  void advance(size_t size) {
    for (const size_t end = std::min(at_ + size, source_.size()); at_ < end; ++at_) {
      const char c = source_[at_];
      if (c == '\n') {
        here_ = {here_.line + 1, 1};
      } else if ((static_cast<unsigned char>(c) & 0xC0) != 0x80) {
        ++here_.column;
      }
    }
  }

  /// The byte behind white space that begins at a byte.
  size_t after_space(size_t at) const {
    while (at < source_.size()) {
      const Utf8Step step = read_utf8(source_, at);
      if (!is_python_space(step.code)) break;
      at += step.size;
    }
    return at;
  }

  [[noreturn]] void fail_at(Position at, std::string_view expected, std::string_view found) const {
    throw Error(concat(describe(place_, at), ": expected ", expected, ", found ", found));
  }

  void add(Kind kind, std::string text) { tokens_.push_back({kind, std::move(text), here_}); }

  /// Text up to the next tag, and the tag.
  void read_text() {
    size_t tag = at_;
    while (true) {
      tag = source_.find('{', tag);
      if (tag == std::string::npos) break;
      const char next = tag + 1 < source_.size() ? source_[tag + 1] : '\0';
      if (next == '{' || next == '%' || next == '#') break;
      ++tag;
    }
    if (tag == std::string::npos) {
      add_text(std::string_view(source_).substr(at_));
      advance(source_.size() - at_);
      return;
    }
    const char kind = source_[tag + 1];
    const char sign = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
    const std::string_view text = std::string_view(source_).substr(at_, tag - at_);
    add_text(before_tag(text, sign, kind == '{'));
    advance(tag - at_);
    opened_ = here_;
    const bool has_sign = sign == '-' || sign == '+';
    if (kind == '#') return skip_comment(has_sign ? 3 : 2);
    if (kind == '%' && read_raw(has_sign ? 3 : 2)) return;
    add(kind == '{' ? Kind::kPrintBegin : Kind::kTagBegin, "");
    advance(has_sign ? 3 : 2);
    read_words(kind == '{');
  }

  void add_text(std::string_view text) {
    if (!text.empty()) add(Kind::kText, std::string(text));
  }

  std::string_view before_tag(std::string_view text, char sign, bool is_print) const {
    if (sign == '-') return strip_right(text);
    if (is_print || sign == '+') return text;
    const size_t line = text.rfind('\n') + 1;
    const bool begins_line = line > 0 || line_starts_;
    return begins_line && strip_right(text.substr(line)).empty() ? text.substr(0, line) : text;
  }

  void skip_comment(size_t opening) {
    const size_t begin = at_ + opening;
    const size_t end = source_.find("#}", begin);
    if (end == std::string::npos) fail_at(opened_, "an end of the comment (#})", "none");
    const char sign = end > begin ? source_[end - 1] : '\0';
    advance(end + 2 - at_);
    end_tag(sign, /*trims=*/true);
  }

  /// What goes with the end of a tag, which has been read.
  void end_tag(char sign, bool trims) {
    if (sign == '-') {
      advance(after_space(at_) - at_);
    } else if (sign != '+' && trims && peek() == '\n') {
      advance(1);
    }
    line_starts_ = source_[at_ - 1] == '\n';
  }

  /// {% raw %}: what stands up to {% endraw %} is text.
  bool read_raw(size_t opening) {
    const std::optional<size_t> begin = word_tag(at_ + opening, "raw", /*trims=*/false);
    if (!begin) return false;
    for (size_t tag = source_.find("{%", *begin); tag != std::string::npos;
         tag = source_.find("{%", tag + 2)) {
      const char sign = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
      const size_t word = tag + (sign == '-' || sign == '+' ? 3 : 2);
      const std::optional<size_t> end = word_tag(word, "endraw", /*trims=*/true);
      if (!end) continue;
      line_starts_ = source_[*begin - 1] == '\n';
      const std::string_view text = std::string_view(source_).substr(*begin, tag - *begin);
      add_text(before_tag(text, sign, false));
      advance(*end - at_);
      line_starts_ = source_[at_ - 1] == '\n';
      return true;
    }
    fail_at(opened_, "an end of the tag raw ({% endraw %})", "none");
  }

  /// The byte behind a tag of one word whose inside begins at `at`.
  std::optional<size_t> word_tag(size_t at, std::string_view word, bool trims) const {
    at = after_space(at);
    if (!std::string_view(source_).substr(at).starts_with(word)) return std::nullopt;
    at = after_space(at + word.size());
    const std::string_view rest = std::string_view(source_).substr(at);
    if (rest.starts_with("-%}")) return after_space(at + 3);
    if (trims && rest.starts_with("+%}")) return at + 3;
    if (!rest.starts_with("%}")) return std::nullopt;
    return at + 2 + (trims && rest.substr(2).starts_with("\n") ? 1 : 0);
  }

  void read_words(bool is_print) {
    const std::string_view end = is_print ? "}}" : "%}";
    std::string open;  // brackets
    while (true) {
      advance(after_space(at_) - at_);
      if (at_ == source_.size()) fail_at(opened_, concat("an end of the tag (", end, ")"), "none");
      const bool is_signed = peek() == '-' || (peek() == '+' && !is_print);
      if (open.empty() && comes(end, is_signed ? 1 : 0)) {
        const char sign = is_signed ? peek() : '\0';
        add(is_print ? Kind::kPrintEnd : Kind::kTagEnd, "");
        advance(is_signed ? 3 : 2);
        return end_tag(sign, !is_print);
      }
      read_word(open);
    }
  }

  void read_word(std::string& open) {
    const char c = peek();
    if (is_digit(c)) return read_number();
    if (c == '\'' || c == '"') return read_string(c);
    size_t size = 0;
    while (at_ + size < source_.size()) {
      const Utf8Step step = read_utf8(source_, at_ + size);
      if (!is_word(step.code)) break;
      size += step.size;
    }
    if (size > 0) {
      add(Kind::kName, source_.substr(at_, size));
      return advance(size);
    }
    for (const std::string_view spelt : kOperators) {
      if (!comes(spelt)) continue;
      match_bracket(spelt[0], open);
      add(Kind::kOperator, std::string(spelt));
      return advance(spelt.size());
    }
    const Utf8Step step = read_utf8(source_, at_);
    fail_at(here_, "a word of an expression", in_quotes(to_utf8(step.code)));
  }

  void match_bracket(char c, std::string& open) const {
    if (c == '(') open += ')';
    if (c == '[') open += ']';
    if (c == '{') open += '}';
    if (c != ')' && c != ']' && c != '}') return;
    if (open.empty()) fail_at(here_, "an end of the tag", in_quotes(std::string(1, c)));
    if (open.back() != c)
      fail_at(here_, in_quotes(open.substr(open.size() - 1)), in_quotes({&c, 1}));
    open.pop_back();
  }

  size_t digits_from(size_t ahead, bool (*is_one)(char)) const {
    size_t end = ahead;
    while (is_one(peek(end)) || (end > 0 && peek(end) == '_' && is_one(peek(end + 1)))) ++end;
    return end;
  }

  void read_number() {
    const bool follows_dot = at_ > 0 && source_[at_ - 1] == '.';
    const char base = static_cast<char>(peek(1) | 0x20);
    if (peek() == '0' && (base == 'x' || base == 'o' || base == 'b')) return read_based(base);
    size_t size = digits_from(0, is_digit);
    bool is_float = false;
    if (!follows_dot && peek(size) == '.' && is_digit(peek(size + 1))) {
      is_float = true;
      size = digits_from(size + 1, is_digit);
    }
    if (!follows_dot && (peek(size) | 0x20) == 'e') {
      const size_t sign = peek(size + 1) == '+' || peek(size + 1) == '-' ? 1 : 0;
      if (is_digit(peek(size + 1 + sign))) {
        is_float = true;
        size = digits_from(size + 1 + sign, is_digit);
      }
    }
    std::string text = source_.substr(at_, size);
    std::erase(text, '_');
    add(is_float ? Kind::kFloat : Kind::kInteger, std::move(text));
    advance(size);
  }

  void read_based(char base) {
    const auto is_one = [](char c) {
      return is_digit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
    };
    const size_t size = digits_from(2, is_one);
    std::string text = source_.substr(at_ + 2, size - 2);
    std::erase(text, '_');
    const int radix = base == 'x' ? 16 : base == 'o' ? 8 : 2;
    size_t read = 0;
    int64_t value = 0;
    try {
      value = std::stoll(text, &read, radix);
    } catch (const std::exception&) {
      read = 0;
    }
    if (read == 0 || read != text.size()) {
      fail_at(here_, "a number", in_quotes(source_.substr(at_, size)));
    }
    add(Kind::kInteger, std::to_string(value));
    advance(size);
  }

  void read_string(char quote) {
    size_t end = at_ + 1;
    while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
    if (end >= source_.size()) fail_at(here_, "an end of the string", "none");
    const std::string_view inside = std::string_view(source_).substr(at_ + 1, end - at_ - 1);
    std::optional<std::string> text = unescaped(inside);
    if (!text) fail_at(here_, "a string with known escapes", in_quotes(inside.substr(0, 40)));
    add(Kind::kString, std::move(*text));
    advance(end + 1 - at_);
  }

  const std::string source_;
  const std::string& place_;
  std::vector<Token> tokens_;
  size_t at_ = 0;
  Position here_, opened_;
  bool line_starts_ = true;  // the last tag ended a line
};

}  // namespace

std::string describe(const std::string& place, Position at) {
  return concat(place, ":", at.line, ":", at.column);
}

std::vector<Token> read_tokens(std::string_view source, const std::string& place) {
  return Lexer(source, place).run();
}

}  // namespace hypenet::jinja
