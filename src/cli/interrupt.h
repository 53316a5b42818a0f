// Ctrl-C as a flag that work looks at: once, or again and again.
#pragma once

#include <atomic>

namespace hypenet {

/// A flag that SIGINT and SIGTERM set from the first call on. A second signal ends the program at
/// once.
const std::atomic<bool>& interrupt_flag();

/// Throws Interrupted("interrupted") when the flag is set.
void throw_if_interrupted();

/// Ctrl-C for a program that goes on after it.
struct InterruptWatch {
  const std::atomic<bool>& flag;  // set when it came
  int descriptor;                 // readable when it came
};

/// From the first call on, SIGINT does nothing but this, however often; SIGTERM ends the program.
/// Throws Error when the system has no descriptor left.
InterruptWatch watch_interrupts();

/// Whether SIGINT came since the last call.
bool take_interrupt();

}  // namespace hypenet
