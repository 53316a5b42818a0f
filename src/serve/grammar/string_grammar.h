// Strings of a JSON schema: patterns and formats as grammars.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace hypenet {

/// EBNF of the strings that a pattern matches from end to end, without quotation marks. Nullopt
/// where it has something that differs between dialects, that a grammar cannot hold or that JSON
/// writes with an escape: look-around, back-references, word boundaries, anchors inside, lazy
/// repeats, quotation marks, backslashes, control and non-ASCII characters; or where it is longer
/// than 64 characters once its repeats are written out.
std::optional<std::string> pattern_grammar(std::string_view pattern);

/// The same of a format: date, time, date-time, duration, email, hostname, ipv4, ipv6, uuid, uri.
/// Each is a part of what the format allows. Nullopt: not one of them.
std::optional<std::string> format_grammar(std::string_view format);

}  // namespace hypenet
