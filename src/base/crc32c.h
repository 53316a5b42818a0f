// CRC-32C (Castagnoli), the checksum that processors compute.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace hypenet {

/// Of `bytes` behind what gave `before`: crc32c(b, crc32c(a)) is that of a and b together.
uint32_t crc32c(std::span<const std::byte> bytes, uint32_t before = 0);

}  // namespace hypenet
