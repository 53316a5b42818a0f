// Ctrl-C as a flag that work looks at: once, or again and again.
#pragma once

#include <atomic>
#include <cstdint>

namespace hypenet {

/// Leaves SIGINT, SIGTERM and SIGHUP to one thread of their own: a handler would run on the stack
/// of whatever thread it meets, and oneDNN's kernels point theirs into the heap, where a handler's
/// frame lands in memory of others. Called once, before any other thread starts: threads inherit
/// what they block. Until interrupt_flag or watch_interrupts is called both do what the system
/// does; so does SIGHUP until hangup_count is.
void route_interrupts();

/// A flag that SIGINT and SIGTERM set from the first call on. A second signal ends the program at
/// once; what comes within a fifth of a second of the first is that one told twice (timeout signals
/// the process and then its group).
const std::atomic<bool>& interrupt_flag();

/// Throws Interrupted("interrupted") when the flag is set.
void throw_if_interrupted();

/// How often SIGHUP came since the first call, from which on it does nothing but this.
int64_t hangup_count();

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
