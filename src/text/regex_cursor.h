// The characters of an expression that is being parsed, its escapes, and errors that name them.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "text/code_set.h"

namespace hypenet {

class RegexCursor {
 public:
  RegexCursor(std::string_view source, std::string_view place);

  bool at_end() const { return at_ == codes_.size(); }
  size_t position() const { return at_; }
  void move_to(size_t position) { at_ = position; }

  /// The character `ahead` of the next one; U+0000 behind the end.
  char32_t peek(size_t ahead = 0) const;
  char32_t take() { return codes_[at_++]; }

  /// Steps over the text where it comes next.
  bool skip(std::u32string_view text);
  bool comes(std::u32string_view text) const;
  bool comes_later(char32_t code) const { return codes_.find(code, at_) != codes_.npos; }
  size_t count(char32_t code) const;

  [[noreturn]] void fail(std::string_view what) const;
  void check(bool condition, std::string_view what) const {
    if (!condition) fail(what);
  }

  /// After a backslash: the set of \w, \s, \d, \h, \p{..} and their negations; none, and nothing
  /// read, for another letter. Inside brackets \w is [:word:], which lacks six characters of
  /// Latin-1.
  std::optional<CodeSet> class_escape(bool in_class);

  /// After a backslash: the one character that is meant. `in_class`: \b is a backspace.
  char32_t character_escape(bool in_class);

 private:
  CodeSet property(bool is_negated, bool in_class);
  char32_t braced_number(unsigned base);
  char32_t digits(unsigned base, size_t most);
  char32_t numeric_escape(char32_t letter, bool in_class);
  char32_t check_code(char32_t code) const;

  std::string_view source_, place_;
  std::u32string codes_;
  size_t at_ = 0;
};

/// The set that stands behind an opening bracket, up to its closing one. `ignores_case`: under
/// (?i).
CodeSet parse_regex_class(RegexCursor& cursor, bool ignores_case);

}  // namespace hypenet
