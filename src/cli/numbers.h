// Numbers as people read them.
#pragma once

#include <cstdint>
#include <string>

#include "base/readable_bytes.h"  // as numbers of bytes go with the others

namespace hypenet {

std::string with_commas(int64_t value);        // 1,234,567
std::string readable_tokens(int64_t tokens);   // 256, 4K, 1M: binary units where they are exact
std::string readable_seconds(double seconds);  // 12 s, 2 min 05 s, 1 h 03 min: rounded up

}  // namespace hypenet
