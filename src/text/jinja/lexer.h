// A template cut into its text and the words of its tags. White space around tags is gone as
// trim_blocks, lstrip_blocks and the signs - and + have it; comments are gone too.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace hypenet::jinja {

/// Of a template; both count from 1, columns by characters.
struct Position {
  int line = 1, column = 1;
};

struct Token {
  enum class Kind {
    kText,
    kPrintBegin,
    kPrintEnd,
    kTagBegin,
    kTagEnd,
    kName,
    kString,  // its escapes resolved
    kInteger,
    kFloat,
    kOperator,
    kEnd
  };
  Kind kind = Kind::kEnd;
  std::string text;
  Position at;
};

/// The last token is kEnd. Throws Error "place:line:column: expected ..., found ..." for a tag,
/// comment or string without an end and for a character that begins no word.
std::vector<Token> read_tokens(std::string_view source, const std::string& place);

/// "place:line:column".
std::string describe(const std::string& place, Position at);

}  // namespace hypenet::jinja
