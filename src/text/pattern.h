// Regular expressions of tokenizer.json. The files are written for Oniguruma (Ruby syntax); they
// run on PCRE2, and what the two read differently is translated or refused.
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
  /// Compiles an Oniguruma expression. `place` names it in errors.
  static Pattern regex(std::string_view expression, std::string_view place);

  /// A pattern that finds the text itself.
  static Pattern literal(std::string_view text, std::string_view place);

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
    int match_at(size_t from);

    struct Data;
    const Pattern& pattern_;
    std::unique_ptr<Data> data_;
    std::string_view text_;
    size_t from_ = 0;
    std::optional<size_t> last_end_;
  };

 private:
  struct Code;
  explicit Pattern(std::shared_ptr<const Code> code);
  std::shared_ptr<const Code> code_;
};

/// The same expression in PCRE2's syntax. Throws Error for what has no equal there.
std::string pcre2_expression(std::string_view oniguruma, std::string_view place);

}  // namespace hypenet
