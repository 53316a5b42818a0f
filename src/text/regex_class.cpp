// [..] as Oniguruma reads it: ranges, escapes, POSIX classes, classes inside, and && between them.
#include <algorithm>

#include "text/regex_cursor.h"
#include "text/unicode.h"
#include "text/unicode_table.h"

namespace hypenet {

namespace {

class ClassParser {
 public:
  explicit ClassParser(RegexCursor& cursor) : cursor_(cursor) {}

  /// Up to and with the closing bracket. Whether the class began with ^ stays in is_negated().
  CodeSet run() {
    is_negated_ = cursor_.skip(U"^");
    const bool is_bracket_first = cursor_.comes(U"]");
    if (is_bracket_first) {
      cursor_.take();
      cursor_.check(cursor_.comes_later(U']'), "an empty class");
      value(U']');
    }
    while (!cursor_.skip(U"]")) {
      cursor_.check(!cursor_.at_end(), "[ without its ]");
      step();
    }
    finish();
    if (left_) set_ = left_->intersection(set_);
    return set_;
  }
  bool is_negated() const { return is_negated_; }

 private:
  // What has just been read: nothing, a character, a set, a - behind a character, or a whole range.
  enum class State { kStart, kCharacter, kSet, kRange, kComplete };

  void step() {
    if (cursor_.skip(U"&&")) return intersect();
    if (cursor_.comes(U"[")) return bracket();
    const char32_t code = cursor_.take();
    if (code == '-') return dash();
    if (code != '\\') return value(code);
    if (const auto set = cursor_.class_escape(true)) return add_set(*set);
    value(cursor_.character_escape(true));
  }

  /// The character read last, which no range began with.
  void finish() {
    if (state_ == State::kCharacter) set_.add(last_, last_);
    cursor_.check(state_ != State::kRange, "a range without an end");
  }

  void value(char32_t code) {
    if (state_ == State::kRange) {
      cursor_.check(last_ <= code, "a range that ends before it begins");
      set_.add(last_, code);
      state_ = State::kComplete;
      return;
    }
    finish();
    last_ = code;
    state_ = State::kCharacter;
  }

  void add_set(const CodeSet& set) {
    cursor_.check(state_ != State::kRange, "a class at the end of a range");
    finish();
    set_.add(set);
    state_ = State::kSet;
  }

  void dash() {
    const bool is_last = cursor_.comes(U"]") || cursor_.comes(U"&&");
    if (state_ == State::kRange || state_ == State::kStart || is_last) return value(U'-');
    cursor_.check(state_ != State::kSet, "a range that begins with a class");
    if (state_ == State::kComplete) return value(U'-');
    state_ = State::kRange;
  }

  void intersect() {
    finish();
    left_ = left_ ? left_->intersection(set_) : set_;
    set_ = CodeSet();
    state_ = State::kStart;
  }

  void bracket() {
    if (const auto set = posix_class()) return add_set(*set);
    cursor_.take();
    cursor_.check(state_ != State::kRange, "a class at the end of a range");
    finish();
    ClassParser inner(cursor_);
    const CodeSet set = inner.run();
    set_.add(inner.is_negated() ? set.complement() : set);
    state_ = State::kComplete;
  }

  /// [:name:] or [:^name:]; none where a class inside begins.
  std::optional<CodeSet> posix_class() {
    if (!cursor_.comes(U"[:")) return std::nullopt;
    std::string name;
    size_t ahead = 2;
    const bool is_negated = cursor_.peek(ahead) == '^';
    if (is_negated) ++ahead;
    const auto is_letter = [](char32_t c) { return (c | 32) >= 'a' && (c | 32) <= 'z'; };
    while (is_letter(cursor_.peek(ahead))) name += static_cast<char>(cursor_.peek(ahead++));
    const bool is_posix = cursor_.peek(ahead) == ':' && cursor_.peek(ahead + 1) == ']';
    cursor_.check(is_posix, "[: that opens no POSIX class");
    const bool is_lower = std::none_of(name.begin(), name.end(), [](char c) { return c < 'a'; });
    const auto set = is_lower ? named_code_set("[:" + name + ":]") : std::nullopt;
    cursor_.check(set.has_value(), "the unknown POSIX class " + name);
    cursor_.move_to(cursor_.position() + ahead + 2);
    return is_negated ? set->complement() : *set;
  }

  RegexCursor& cursor_;
  CodeSet set_;
  std::optional<CodeSet> left_;  // what stands before &&
  State state_ = State::kStart;
  char32_t last_ = 0;
  bool is_negated_ = false;
};

}  // namespace

CodeSet parse_regex_class(RegexCursor& cursor, bool ignores_case) {
  ClassParser parser(cursor);
  CodeSet set = parser.run();
  if (ignores_case) {
    set = case_closure(set);
    cursor.check(parser.is_negated() || !has_long_case_fold(set),
                 "a class under (?i) with a character whose other case is several");
  }
  return parser.is_negated() ? set.complement() : set;
}

}  // namespace hypenet
