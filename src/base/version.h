// Which program this is, for --version and run.json.
#pragma once

#include <string_view>

namespace hypenet {

std::string_view version();        // "0.1.0"
std::string_view source_commit();  // of the configured tree; "unknown" outside git

}  // namespace hypenet
