// The one global of the program: a signal handler can reach nothing else.
#include "cli/interrupt.h"

#include <csignal>

#include "halo/run.h"

namespace hypenet {
namespace {

std::atomic<bool> interrupted{false};
static_assert(std::atomic<bool>::is_always_lock_free, "a signal handler may set the flag");

extern "C" void on_signal(int) { interrupted = true; }

void install_handlers() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = static_cast<int>(SA_RESETHAND | SA_RESTART);
  for (const int signal : {SIGINT, SIGTERM}) ::sigaction(signal, &action, nullptr);
}

}  // namespace

const std::atomic<bool>& interrupt_flag() {
  static const bool installed = (install_handlers(), true);
  static_cast<void>(installed);
  return interrupted;
}

void throw_if_interrupted() {
  if (interrupt_flag()) throw Interrupted("interrupted");
}

}  // namespace hypenet
