// Escapes of Oniguruma's syntax. What it reads in a way of its own (bytes above 127, control
// escapes, sequences in braces) is refused.
#include "text/regex_cursor.h"

#include <algorithm>
#include <cctype>

#include "base/error.h"
#include "text/unicode.h"
#include "text/unicode_table.h"

namespace hypenet {

namespace {

int digit_value(char32_t code) {
  if (code >= '0' && code <= '9') return static_cast<int>(code - '0');
  if (code >= 'a' && code <= 'f') return static_cast<int>(code - 'a' + 10);
  if (code >= 'A' && code <= 'F') return static_cast<int>(code - 'A' + 10);
  return 99;
}

std::u32string characters(std::string_view text) {
  std::u32string codes;
  for (size_t at = 0; at < text.size();) {
    const Utf8Step step = read_utf8(text, at);
    codes += step.code;
    at += step.size;
  }
  return codes;
}

}  // namespace

RegexCursor::RegexCursor(std::string_view source, std::string_view place)
    : source_(source), place_(place), codes_(characters(source)) {}

char32_t RegexCursor::peek(size_t ahead) const {
  return at_ + ahead < codes_.size() ? codes_[at_ + ahead] : U'\0';
}

bool RegexCursor::comes(std::u32string_view text) const {
  return std::u32string_view(codes_).substr(at_).starts_with(text);
}

bool RegexCursor::skip(std::u32string_view text) {
  if (!comes(text)) return false;
  at_ += text.size();
  return true;
}

size_t RegexCursor::count(char32_t code) const {
  return static_cast<size_t>(std::count(codes_.begin(), codes_.end(), code));
}

void RegexCursor::fail(std::string_view what) const {
  throw Error(concat(place_,
                     ": expected a regular expression that can be read as Oniguruma does, found ",
                     what, " before character ", at_ + 1, " of ", source_));
}

std::optional<CodeSet> RegexCursor::class_escape(bool in_class) {
  const char32_t letter = peek();
  if (letter == 'p' || letter == 'P') {
    ++at_;
    return property(letter == 'P', in_class);
  }
  const bool is_upper = letter == 'W' || letter == 'S' || letter == 'D' || letter == 'H';
  const char32_t lower = is_upper ? letter + 32 : letter;
  if (lower != 'w' && lower != 's' && lower != 'd' && lower != 'h') return std::nullopt;
  ++at_;
  const bool is_bracket_word = in_class && lower == 'w';
  const std::string name =
      is_bracket_word ? "[:word:]" : std::string{'\\', static_cast<char>(lower)};
  const CodeSet set = named_code_set(name).value();
  return is_upper ? set.complement() : set;
}

CodeSet RegexCursor::property(bool is_negated, bool in_class) {
  // Whether \pL is \p{L} or two letters depends on Oniguruma's version.
  check(skip(U"{"), "\\p without braces");
  if (skip(U"^")) is_negated = !is_negated;
  std::string name;
  while (!at_end() && peek() != '}') name += to_utf8(take());
  check(skip(U"}"), "\\p{ without its }");
  const bool is_plain = std::all_of(name.begin(), name.end(), [](char c) {
    return c == ' ' || c == '-' || c == '_' || std::isalnum(static_cast<unsigned char>(c));
  });
  auto set = is_plain ? named_code_set(name) : std::nullopt;
  check(set.has_value(), concat("the unknown property ", name));
  if (in_class && *set == named_code_set("word")) set = named_code_set("[:word:]");
  return is_negated ? set->complement() : *set;
}

char32_t RegexCursor::digits(unsigned base, size_t most) {
  char32_t value = 0;
  for (size_t n = 0; n < most && digit_value(peek()) < static_cast<int>(base); ++n) {
    value = value * base + static_cast<char32_t>(digit_value(take()));
    check(value <= kLastCode, "a code point above U+10FFFF");
  }
  return value;
}

char32_t RegexCursor::check_code(char32_t code) const {
  check(code < 0xD800 || code > 0xDFFF, "a surrogate");
  return code;
}

char32_t RegexCursor::braced_number(unsigned base) {
  const size_t begin = at_;
  const char32_t code = digits(base, 11);
  check(at_ > begin && skip(U"}"), "an escape in braces that is not one number");
  return check_code(code);
}

char32_t RegexCursor::numeric_escape(char32_t letter, bool in_class) {
  if (letter == 'x' && skip(U"{")) return braced_number(16);
  if (letter == 'o') return skip(U"{") ? braced_number(8) : letter;
  if (letter == 'u') {
    const size_t begin = at_;
    const char32_t code = digits(16, 4);
    check(at_ == begin + 4, "\\u without four digits");
    return check_code(code);
  }
  char32_t code = 0;
  if (letter == 'x') {
    code = digits(16, 2);
  } else {
    check(in_class || letter == '0',
          "a backreference, or an octal escape that does not begin with 0");
    if (!in_class) {
      code = digits(8, 2);
    } else {
      --at_;
      code = digits(8, 3);
    }
  }
  check(code < 0x80, "an escape of a byte above 127");
  return code;
}

char32_t RegexCursor::character_escape(bool in_class) {
  check(!at_end(), "a backslash at the end");
  const char32_t letter = take();
  const bool is_octal = letter >= '0' && letter <= '7';
  if (letter == 'x' || letter == 'o' || letter == 'u' || is_octal)
    return numeric_escape(letter, in_class);
  check(in_class || (letter != '8' && letter != '9'), "a backreference");
  check(letter != 'c' && letter != 'C' && letter != 'M', "a control escape");
  check(letter < 0x80, "a backslash before a character that is not ASCII");
  constexpr std::string_view kLetters = "ntrfaebv", kValues = "\n\t\r\f\a\x1b\b\v";
  const size_t found = kLetters.find(static_cast<char>(letter));
  return found == std::string_view::npos ? letter : static_cast<char32_t>(kValues[found]);
}

}  // namespace hypenet
