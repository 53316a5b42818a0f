// The only globals of the program, and none that has a destructor: the thread that waits for
// signals outlives main.
#include "cli/interrupt.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdint>
#include <ctime>
#include <thread>

#include "base/error.h"
#include "cli/terminal_changes.h"
#include "run/run.h"

namespace hypenet {
namespace {

enum class Response { kSystem, kFlag, kWatch };  // the system's own: it ends the program

constexpr std::chrono::milliseconds kSameSignal{200};

std::atomic<Response> response{Response::kSystem};
std::atomic<bool> interrupted{false};
std::atomic<int> wake_descriptor{-1};
std::atomic<bool> counts_hangups{false};
std::atomic<int64_t> hangups{0};

sigset_t interrupts() {
  sigset_t signals;
  ::sigemptyset(&signals);
  ::sigaddset(&signals, SIGINT);
  ::sigaddset(&signals, SIGTERM);
  ::sigaddset(&signals, SIGHUP);
  return signals;
}

/// What the signal does where nobody waits for it: it ends the program, unless it is ignored.
void let_through(int signal, const sigset_t& signals) {
  ::pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);
  ::raise(signal);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
}

void set_flag(int signal, const sigset_t& signals) {
  if (interrupted.exchange(true)) {
    ::signal(signal, SIG_DFL);
    let_through(signal, signals);
  }
  std::this_thread::sleep_for(kSameSignal);
  const timespec no_time{};
  while (::sigtimedwait(&signals, nullptr, &no_time) > 0) continue;
}

void wake_reader() {
  interrupted = true;
  const uint64_t one = 1;
  // It can only fail when nobody has read an earlier one, which wakes the reader just as well.
  [[maybe_unused]] const auto written = ::write(wake_descriptor, &one, sizeof(one));
}

[[noreturn]] void wait_for_interrupts() {
  const sigset_t signals = interrupts();
  for (;;) {
    int signal = 0;
    if (::sigwait(&signals, &signal) != 0) continue;
    const Response asked = response;
    if (signal == SIGHUP) {
      counts_hangups ? void(++hangups) : let_through(signal, signals);
    } else if (asked == Response::kFlag) {
      set_flag(signal, signals);
    } else if (asked == Response::kWatch && signal == SIGINT) {
      wake_reader();
    } else {
      let_through(signal, signals);
    }
  }
}

int make_wake_descriptor() {
  wake_descriptor = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  HYPENET_CHECK(wake_descriptor >= 0, "eventfd: expected a descriptor, found none");
  response = Response::kWatch;
  return wake_descriptor;
}

}  // namespace

void route_interrupts() {
  const sigset_t signals = interrupts(), changes = terminal_signals();
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  ::pthread_sigmask(SIG_BLOCK, &changes, nullptr);
  std::thread(wait_for_interrupts).detach();
}

const std::atomic<bool>& interrupt_flag() {
  Response before = Response::kSystem;
  response.compare_exchange_strong(before, Response::kFlag);
  return interrupted;
}

void throw_if_interrupted() {
  if (interrupt_flag()) throw Interrupted("interrupted");
}

int64_t hangup_count() {
  counts_hangups = true;
  return hangups;
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
