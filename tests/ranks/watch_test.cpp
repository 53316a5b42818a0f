// Ranks that look after each other, as threads around one store. A fault ends the process, so each
// test is one.
#include "ranks/watch.h"

#include <gtest/gtest.h>

#include <iostream>
#include <torch/csrc/distributed/c10d/HashStore.hpp>

#include "base/error.h"

namespace hypenet {
namespace {

using std::chrono::seconds;

void tell(const std::string& text) { std::cerr << text << std::endl; }

/// Two ranks, of which the first makes fewer calls; the second waits for it.
struct TwoRanks {
  Watch::Store store = c10::make_intrusive<c10d::HashStore>();
  Watch first{store, {0, 2}, seconds(1), tell}, second{store, {1, 2}, seconds(1), tell};
};

void wait(seconds time) { std::this_thread::sleep_for(time); }

TEST(WatchDeathTest, who_gives_no_sign_while_another_waits_hangs_and_is_named) {
  EXPECT_EXIT(
      {
        TwoRanks ranks;
        ranks.first.count_call();
        for (int call = 0; call < 2; ++call) ranks.second.count_call();
        wait(seconds(20));
      },
      testing::ExitedWithCode(1), "^rank 0 on [^ ]+: hangs: no progress for 1 s or more\n$");
}

TEST(WatchDeathTest, who_works_for_long_and_gives_signs_does_not) {
  EXPECT_EXIT(
      {
        TwoRanks ranks;
        ranks.second.count_call();
        for (int i = 0; i < 60; ++i) {
          std::this_thread::sleep_for(std::chrono::milliseconds(100));
          ranks.first.give_sign();
        }
        std::_Exit(7);
      },
      testing::ExitedWithCode(7), "^$");
}

TEST(WatchDeathTest, a_reported_fault_ends_the_others) {
  EXPECT_EXIT(
      {
        TwoRanks ranks;
        if (!ranks.first.report("a disk is full")) std::_Exit(8);
        if (ranks.first.report("another")) std::_Exit(9);
        wait(seconds(20));
      },
      testing::ExitedWithCode(1), "^$");
}

TEST(WatchDeathTest, a_failed_call_waits_for_its_cause) {
  EXPECT_EXIT(
      {
        TwoRanks ranks;
        ranks.first.report("out of memory");
        try {
          ranks.second.throw_cause("connection closed");
        } catch (const OtherRankFailed&) {
          std::_Exit(7);
        }
      },
      testing::ExitedWithCode(7), "^$");
}

}  // namespace
}  // namespace hypenet
