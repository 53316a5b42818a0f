// One descriptor for the life of the program, like the one of interrupts.
#include "cli/terminal_changes.h"

#include <sys/signalfd.h>

#include "base/error.h"

namespace hypenet {

sigset_t terminal_signals() {
  sigset_t signals;
  ::sigemptyset(&signals);
  ::sigaddset(&signals, SIGWINCH);
  ::sigaddset(&signals, SIGCONT);
  return signals;
}

int terminal_changes() {
  static const int kDescriptor = [] {
    const sigset_t signals = terminal_signals();
    return ::signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
  }();
  HYPENET_CHECK(kDescriptor >= 0, "signalfd: expected a descriptor, found none");
  return kDescriptor;
}

}  // namespace hypenet
