// Translation from Oniguruma's syntax, and matching with PCRE2's just-in-time compiler.
#include "text/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <cctype>
#include <limits>

#include "base/error.h"
#include "text/unicode.h"

namespace hypenet {

namespace {

// PCRE2's own \s has U+180E too, its \w lacks marks and superscript digits: both are spelled out as
// members of a class.
constexpr std::string_view kSpace =
    R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
constexpr std::string_view kNotSpace =
    R"(\x{0}-\x{8}\x{e}-\x{1f}\x{21}-\x{84}\x{86}-\x{9f}\x{a1}-\x{167f}\x{1681}-\x{1fff}\x{200b}-\x{2027})"
    R"(\x{202a}-\x{202e}\x{2030}-\x{205e}\x{2060}-\x{2fff}\x{3001}-\x{10ffff})";
constexpr std::string_view kWord =
    R"(\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\x{b2}\x{b3}\x{b9}\x{bc}-\x{be}\x{24b6}-\x{24e9}\x{1f130}-\x{1f149}\x{1f150}-\x{1f169}\x{1f170}-\x{1f189})";

/// Walks over an expression once and writes it anew.
class Translator {
 public:
  Translator(std::string_view source, std::string_view place) : source_(source), place_(place) {}

  std::string run() {
    while (at_ < source_.size()) step();
    return std::move(out_);
  }

 private:
  char peek(size_t ahead = 0) const {
    return at_ + ahead < source_.size() ? source_[at_ + ahead] : '\0';
  }
  void copy(size_t n = 1) {
    out_ += source_.substr(at_, n);
    at_ += n;
  }
  /// Up to and including `end`; all that is left when it does not come, which PCRE2 then reports.
  void copy_through(std::string_view end) {
    const size_t found = source_.find(end, at_);
    copy((found == std::string_view::npos ? source_.size() : found + end.size()) - at_);
  }
  void check(bool condition, std::string_view what) const {
    HYPENET_CHECK(condition, place_,
                  ": expected a regular expression that means the same in PCRE2, found ", what,
                  " in ", source_);
  }

  void step() {
    if (peek() == '\\') return escape();
    if (in_class_) return step_in_class();
    if (peek() == '[') return open_class();
    if (peek() == '{') check(!is_interval_before_plus(), "an interval followed by +");
    if (peek() == '(' && peek(1) == '?') check(peek(2) != 'm' && peek(2) != 's', "the flag m or s");
    copy();
  }

  void step_in_class() {
    if (peek() == '[' && peek(1) == ':') return copy_through(":]");
    check(peek() != '[', "a class inside a class");
    check(!(peek() == '&' && peek(1) == '&'), "&& inside a class");
    if (peek() == ']') in_class_ = false;
    copy();
  }

  void open_class() {
    in_class_ = true;
    copy();
    if (peek() == '^') copy();
    if (peek() == ']') copy();
  }

  void escape() {
    const char letter = peek(1);
    check(letter != 'h' && letter != 'H', "\\h");
    check(in_class_ || (letter != 'b' && letter != 'B'), "\\b");
    check(!(in_class_ && letter == 'W'), "\\W inside a class");
    if (letter == 's') return members(kSpace, false);
    if (letter == 'S') return in_class_ ? members(kNotSpace, false) : members(kSpace, true);
    if (letter == 'w') return members(kWord, false);
    if (letter == 'W') return members(kWord, true);
    copy(2);
    // The braces of \p{L} and \x{41} are no interval.
    if (peek() == '{') copy_through("}");
  }

  void members(std::string_view list, bool negated) {
    at_ += 2;
    if (in_class_) {
      out_ += list;
    } else {
      out_ += concat(negated ? "[^" : "[", list, "]");
    }
  }

  /// Ruby reads {2,3}+ as a repeated repetition, PCRE2 as a possessive one.
  bool is_interval_before_plus() const {
    size_t end = at_ + 1;
    while (end < source_.size() &&
           (std::isdigit(static_cast<unsigned char>(source_[end])) || source_[end] == ',')) {
      ++end;
    }
    return source_.substr(end, 2) == "}+";
  }

  std::string_view source_, place_;
  std::string out_;
  size_t at_ = 0;
  bool in_class_ = false;
};

std::string pcre2_message(int code) {
  PCRE2_UCHAR text[256];
  pcre2_get_error_message(code, text, sizeof text);
  return reinterpret_cast<const char*>(text);
}

PCRE2_SPTR units(std::string_view text) { return reinterpret_cast<PCRE2_SPTR>(text.data()); }

}  // namespace

std::string pcre2_expression(std::string_view oniguruma, std::string_view place) {
  return Translator(oniguruma, place).run();
}

struct Pattern::Code {
  Code(std::string_view expression, uint32_t options, std::string_view place) {
    int error = 0;
    PCRE2_SIZE offset = 0;
    // In Ruby's syntax ^ and $ always match at line ends.
    compiled = pcre2_compile(units(expression), expression.size(),
                             options | PCRE2_UTF | PCRE2_NO_UTF_CHECK, &error, &offset, nullptr);
    HYPENET_CHECK(compiled, place, ": expected a regular expression, found ", expression, " (",
                  pcre2_message(error), " at ", offset, ")");
    pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE);
  }
  ~Code() { pcre2_code_free(compiled); }
  Code(const Code&) = delete;
  Code& operator=(const Code&) = delete;

  pcre2_code* compiled = nullptr;
};

Pattern::Pattern(std::shared_ptr<const Code> code) : code_(std::move(code)) {}

Pattern Pattern::regex(std::string_view expression, std::string_view place) {
  return Pattern(std::make_shared<const Code>(pcre2_expression(expression, place),
                                              PCRE2_UCP | PCRE2_MULTILINE, place));
}

Pattern Pattern::literal(std::string_view text, std::string_view place) {
  return Pattern(std::make_shared<const Code>(text, PCRE2_LITERAL, place));
}

struct Pattern::Search::Data {
  explicit Data(const pcre2_code* code)
      : match(pcre2_match_data_create_from_pattern(code, nullptr)),
        context(pcre2_match_context_create(nullptr)) {
    pcre2_set_match_limit(context, std::numeric_limits<uint32_t>::max());
  }
  ~Data() {
    pcre2_match_context_free(context);
    pcre2_match_data_free(match);
  }
  Data(const Data&) = delete;
  Data& operator=(const Data&) = delete;

  pcre2_match_data* match;
  pcre2_match_context* context;
};

Pattern::Search::Search(const Pattern& pattern)
    : pattern_(pattern), data_(std::make_unique<Data>(pattern.code_->compiled)) {}

Pattern::Search::~Search() = default;

void Pattern::Search::start(std::string_view text) {
  text_ = text;
  from_ = 0;
  last_end_.reset();
}

int Pattern::Search::match_at(size_t from) {
  const auto run = [&](uint32_t options) {
    return pcre2_match(pattern_.code_->compiled, units(text_), text_.size(), from,
                       options | PCRE2_NO_UTF_CHECK, data_->match, data_->context);
  };
  const int result = run(0);
  // The interpreter keeps its backtracking points on the heap, which has room where the stack has
  // none.
  return result == PCRE2_ERROR_JIT_STACKLIMIT ? run(PCRE2_NO_JIT) : result;
}

std::optional<Pattern::Match> Pattern::Search::next() {
  while (from_ <= text_.size()) {
    const int result = match_at(from_);
    if (result == PCRE2_ERROR_NOMATCH) break;
    HYPENET_CHECK(result >= 0, "tokenizer pattern: expected a match or none, found an error: ",
                  pcre2_message(result));
    const PCRE2_SIZE* offsets = pcre2_get_ovector_pointer(data_->match);
    const Match match{offsets[0], offsets[1]};
    if (match.begin != match.end || last_end_ != match.end) {
      from_ = match.end;
      last_end_ = match.end;
      return match;
    }
    from_ += from_ < text_.size() ? read_utf8(text_, from_).size : 1;
  }
  from_ = text_.size() + 1;
  return std::nullopt;
}

}  // namespace hypenet
