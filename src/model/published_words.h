// Errors about a published folder, in the folder's own words.
#pragma once

#include <string>
#include <string_view>

#include "model/config.h"

namespace hypenet {

/// A text in which HypeNet's keys are replaced by those that stand for them in the config.json of a
/// published folder, whose `text` holds the keys of the text model (model/published_config.h).
std::string in_published_words(std::string_view message, Architecture architecture,
                               const Json& text);

}  // namespace hypenet
