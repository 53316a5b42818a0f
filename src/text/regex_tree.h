// A regular expression of Oniguruma as a tree, every class an explicit set of characters.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "text/code_set.h"

namespace hypenet {

struct RegexNode {
  enum class Kind {
    kSequence,     // parts one after the other; none: the empty text
    kAlternation,  // the first of the parts that leads to a match
    kSet,          // one character of `set`
    kRepeat,       // parts[0], min to max times
    kGroup,        // parts[0]; hides a repeat from another one around it
    kAtomic,       // parts[0], which is not tried again
    kLook,         // parts[0] follows (or precedes: is_behind) or does not (is_negated)
    kAnchor,
  };
  enum class Anchor {
    kLineBegin,
    kLineEnd,
    kTextBegin,
    kTextEnd,
    kTextEndOrLastLine,
    kSearchBegin,
    kWordBoundary,
    kNoWordBoundary
  };

  Kind kind = Kind::kSequence;
  std::vector<RegexNode> parts;
  CodeSet set;
  int64_t min = 0;
  std::optional<int64_t> max;  // none: without end
  bool is_greedy = true;
  bool is_behind = false, is_negated = false;
  Anchor anchor = Anchor::kLineBegin;
};

/// Reads an expression in Oniguruma's own syntax (the default of `tokenizers`). Throws Error, named
/// by `place`, for one that is broken and for every construct that is not read here.
RegexNode parse_regex(std::string_view expression, std::string_view place);

}  // namespace hypenet
