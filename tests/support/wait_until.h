// Waiting for what another process does, however busy the machine is.
#pragma once

#include <chrono>
#include <thread>

namespace hypenet::testing_support {

/// Asks every few milliseconds; false when it has not come to pass within a minute.
template <class Condition>
bool wait_until(const Condition& is_true) {
  using std::chrono::steady_clock;
  const auto end = steady_clock::now() + std::chrono::minutes(1);
  while (!is_true()) {
    if (steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

}  // namespace hypenet::testing_support
