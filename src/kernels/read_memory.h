// Memory read and nothing else: the ceiling of decode on a CPU.
#pragma once

#include <cstdint>

namespace hypenet::kernels {

/// The sum of x[0] .. x[count - 1] modulo 2^64.
uint64_t read_memory(const uint64_t* x, int64_t count);

}  // namespace hypenet::kernels
