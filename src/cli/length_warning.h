// The warning for more tokens than a model was made for.
#pragma once

#include <cstdint>
#include <string_view>

#include "model/config.h"

namespace hypenet {

/// length_note (model/length_note.h), where there is one, as a line on standard error.
void warn_of_length(std::string_view place, int64_t tokens, const ModelConfig& config);

}  // namespace hypenet
