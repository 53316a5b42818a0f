// Numbers of bytes as people read and write them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace hypenet {

/// "512 B", "1.5 KiB", "4.0 GiB".
std::string readable_bytes(int64_t bytes);

/// Bytes of "8", "1.5G", "512M", "8 GiB" or "64KB": K, M, G and T (either case, with or without iB)
/// are binary, KB, MB, GB and TB decimal, B bytes; a number alone is GiB. Throws Error naming
/// `place` for anything else, and beyond 2^60.
int64_t parse_bytes(std::string_view text, std::string_view place);

}  // namespace hypenet
