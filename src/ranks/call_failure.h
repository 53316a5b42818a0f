// What a collective call that failed says of itself, in one line.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace hypenet {

/// The first line of c10d's `error`; behind it NCCL's own last error where c10d quotes it; and that
/// the device is full where less than a hundredth of its `total_bytes` is left: NCCL takes memory
/// beside torch's and says only that a CUDA call failed.
std::string call_failure(std::string_view error, int64_t free_bytes, int64_t total_bytes);

}  // namespace hypenet
