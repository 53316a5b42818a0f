// JSON from strangers: time and memory linear in the text, nesting bounded.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/json.h"
#include "base/json_text.h"

namespace hypenet {

/// Puts the text's value into `value`, or says what is wrong with it: what parse_json_text refuses,
/// and nesting over `most_nested`. Of equal keys the last one counts. No object costs more than its
/// length, however many keys it has, which reading into Json by nlohmann's own parser does.
std::optional<JsonFault> parse_bounded_json(std::string_view text, int64_t most_nested,
                                            Json& value);

}  // namespace hypenet
