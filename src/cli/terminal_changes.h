// What happens to a terminal while somebody types on it.
#pragma once

#include <csignal>

namespace hypenet {

/// SIGWINCH and SIGCONT. They reach a descriptor only where every thread blocks them
/// (route_interrupts).
sigset_t terminal_signals();

/// A descriptor that is readable after the terminal got another size, and after the program was
/// stopped (Ctrl-Z) and goes on; its bytes are of no interest. Throws Error when the system has no
/// descriptor left.
int terminal_changes();

}  // namespace hypenet
