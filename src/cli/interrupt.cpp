// The only globals of the program: a signal handler can reach nothing else.
#include "cli/interrupt.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>

#include "base/error.h"
#include "halo/run.h"

namespace hypenet {
namespace {

std::atomic<bool> interrupted{false};
std::atomic<int> wake_descriptor{-1};
static_assert(std::atomic<bool>::is_always_lock_free, "a signal handler may set the flag");

extern "C" void on_signal(int) { interrupted = true; }

extern "C" void on_watched_signal(int) {
  interrupted = true;
  const uint64_t one = 1;
  // It can only fail when nobody has read an earlier one, which wakes the reader just as well.
  [[maybe_unused]] const auto written = ::write(wake_descriptor, &one, sizeof(one));
}

int make_wake_descriptor() {
  wake_descriptor = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  HYPENET_CHECK(wake_descriptor >= 0, "eventfd: expected a descriptor, found none");
  struct sigaction action {};
  action.sa_handler = on_watched_signal;
  action.sa_flags = static_cast<int>(SA_RESTART);
  ::sigaction(SIGINT, &action, nullptr);
  return wake_descriptor;
}

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

InterruptWatch watch_interrupts() {
  static const int kDescriptor = make_wake_descriptor();
  return {interrupted, kDescriptor};
}

bool take_interrupt() {
  uint64_t count = 0;
  [[maybe_unused]] const auto read = ::read(wake_descriptor, &count, sizeof(count));
  return interrupted.exchange(false);
}

}  // namespace hypenet
