// Ctrl-C as a flag that work looks at.
#pragma once

#include <atomic>

namespace hypenet {

/// A flag that SIGINT and SIGTERM set from the first call on. A second signal ends the program at
/// once.
const std::atomic<bool>& interrupt_flag();

/// Throws Interrupted("interrupted") when the flag is set.
void throw_if_interrupted();

}  // namespace hypenet
