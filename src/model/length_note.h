// What there is to say about more tokens than a model was made for: one sentence, the same in every
// command.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "model/config.h"

namespace hypenet {

/// "`place`: 8192 tokens are more than the 4096 that this model was made for (config.json:
/// max_position_embeddings)"; nothing for tokens that are not more. That is no error: a HypeNet is
/// there to be read beyond the length that it was trained at.
std::optional<std::string> length_note(std::string_view place, int64_t tokens,
                                       const ModelConfig& config);

}  // namespace hypenet
