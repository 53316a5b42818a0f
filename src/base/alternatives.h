// Names to choose from, as an error lists them.
#pragma once

#include <span>
#include <string>

namespace hypenet {

/// "a", "a or b", "a, b or c"; empty without names.
std::string alternatives(std::span<const std::string> names);

}  // namespace hypenet
