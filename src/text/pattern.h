// Regular expressions of tokenizer.json, which are written for Oniguruma. Every character class
// comes from the project's own table; PCRE2 only sees one byte for each class of characters.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace hypenet {

/// A compiled expression; may be shared between threads.
class Pattern {
 public:
  /// Compiles an Oniguruma expression. `place` names it in errors. Throws Error for an expression
  /// that is broken, and for a construct that might mean something else here.
  static Pattern regex(std::string_view expression, std::string_view place);

  /// A pattern that finds the text itself.
  static Pattern literal(std::string_view text);

  struct Match {
    size_t begin = 0, end = 0;
  };

  /// Finds matches one after the other; one thread each.
  class Search {
   public:
    explicit Search(const Pattern& pattern);
    ~Search();
    Search(const Search&) = delete;
    Search& operator=(const Search&) = delete;

    /// Starts at the beginning of a text, which must be valid UTF-8 and outlive the search.
    void start(std::string_view text);

    /// The next match; an empty one right behind the last match is skipped.
    std::optional<Match> next();

   private:
    std::optional<Match> next_literal();
    int match_at(size_t from);
    size_t offset_of(size_t character);

    struct Data;
    const Pattern& pattern_;
    std::unique_ptr<Data> data_;
    std::string_view text_;
    std::string classes_;                // a byte for each character of the text
    bool is_ascii_ = true;               // characters are bytes
    size_t character_ = 0, offset_ = 0;  // a character that was asked for, and where it begins
    size_t from_ = 0;
    std::optional<size_t> last_end_;
  };

 private:
  struct Code;
  explicit Pattern(std::shared_ptr<const Code> code);
  std::shared_ptr<const Code> code_;
};

}  // namespace hypenet
