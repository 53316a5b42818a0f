// How many threads of arithmetic this process uses.
#pragma once

#include <cstdint>

namespace hypenet {

/// Sets them; 0: one a physical core, unless OMP_NUM_THREADS or a caller of torch has chosen.
/// Throws Error naming `threads` for impossible ones.
void use_threads(int64_t threads);

}  // namespace hypenet
