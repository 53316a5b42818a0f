// Strings of a JSON schema: patterns and formats as expressions that xgrammar reads.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace hypenet {

/// The pattern without its anchors, to be matched as a whole. Nullopt where it has something whose
/// meaning a grammar could change (look-around, back-references, word boundaries, anchors inside,
/// quotation marks, backslashes, control or non-ASCII characters, more than 10,000
/// characters once its repeats are written out).
std::optional<std::string> whole_pattern(std::string_view pattern);

/// The expression of a format: date, time, date-time, duration, email, hostname, ipv4, ipv6, uuid,
/// uri. Each is a part of what the format allows. Nullopt: not one of them.
std::optional<std::string> format_expression(std::string_view format);

}  // namespace hypenet
