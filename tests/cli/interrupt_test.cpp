// What SIGINT and SIGTERM do to a program, each in a process of its own.
#include "cli/interrupt.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <initializer_list>
#include <thread>

namespace hypenet {
namespace {

constexpr int kAlive = 7;  // the exit code of a program that no signal ended

void wait(int milliseconds) {
  std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
}

/// Sends the signals, each when what the one before it told again is over, and ends.
[[noreturn]] void signal_self(std::initializer_list<int> signals) {
  for (const int signal : signals) {
    ::kill(::getpid(), signal);
    wait(300);
  }
  ::_exit(kAlive);
}

TEST(Interrupt, before_work_asks_for_it_a_signal_ends_the_program) {
  const auto signalled = [](int signal) {
    route_interrupts();
    ::kill(::getpid(), signal);
    wait(30000);  // until the end, however busy the machine is
  };
  EXPECT_EXIT(signalled(SIGINT), testing::KilledBySignal(SIGINT), "");
  EXPECT_EXIT(signalled(SIGTERM), testing::KilledBySignal(SIGTERM), "");
}

TEST(Interrupt, the_first_sets_the_flag_and_a_second_ends_the_program) {
  const auto flagged = [](std::initializer_list<int> more) {
    route_interrupts();
    if (interrupt_flag()) ::_exit(1);
    ::kill(::getpid(), SIGINT);
    while (!interrupt_flag()) wait(1);
    wait(300);
    signal_self(more);
  };
  EXPECT_EXIT(flagged({}), testing::ExitedWithCode(kAlive), "");
  EXPECT_EXIT(flagged({SIGINT}), testing::KilledBySignal(SIGINT), "");
  EXPECT_EXIT(flagged({SIGTERM}), testing::KilledBySignal(SIGTERM), "");
}

TEST(Interrupt, one_told_twice_is_no_second_one) {
  const auto told_twice = [] {
    route_interrupts();
    interrupt_flag();
    ::kill(::getpid(), SIGTERM);
    wait(20);
    signal_self({SIGTERM});
  };
  EXPECT_EXIT(told_twice(), testing::ExitedWithCode(kAlive), "");
}

TEST(Interrupt, watched_sigint_never_ends_the_program_and_sigterm_does) {
  const auto watched = [](std::initializer_list<int> signals) {
    route_interrupts();
    const InterruptWatch watch = watch_interrupts();
    ::kill(::getpid(), SIGINT);
    while (!watch.flag) wait(1);
    wait(5);
    if (!take_interrupt() || take_interrupt()) ::_exit(1);
    signal_self(signals);
  };
  EXPECT_EXIT(watched({SIGINT, SIGINT}), testing::ExitedWithCode(kAlive), "");
  EXPECT_EXIT(watched({SIGTERM}), testing::KilledBySignal(SIGTERM), "");
}

TEST(Interrupt, runs_on_no_stack_of_a_thread_that_computes) {
  const auto blocked = [] {
    sigset_t signals;
    ::pthread_sigmask(SIG_BLOCK, nullptr, &signals);
    return ::sigismember(&signals, SIGINT) == 1 && ::sigismember(&signals, SIGTERM) == 1;
  };
  const auto look = [&] {
    route_interrupts();
    interrupt_flag();
    bool inherited = false;
    std::thread([&] { inherited = blocked(); }).join();
    ::_exit(blocked() && inherited ? kAlive : 1);
  };
  EXPECT_EXIT(look(), testing::ExitedWithCode(kAlive), "");
}

}  // namespace
}  // namespace hypenet
