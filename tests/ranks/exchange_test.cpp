// What ranks tell each other while they work at their own paces.
#include "ranks/exchange.h"

#include <gtest/gtest.h>

#include <thread>

#include "tests/support/expect_error.h"
#include "tests/support/shared_memory_ranks.h"

namespace hypenet {
namespace {

TEST(Records, what_was_appended_is_read_in_that_order) {
  std::string bytes;
  append(bytes, int64_t{-7});
  append(bytes, std::vector<int32_t>{3, 1, 4});
  append(bytes, std::vector<float>{});
  append(bytes, 'x');
  Records records(bytes);
  EXPECT_EQ(records.next<int64_t>(), -7);
  EXPECT_EQ(records.next_list<int32_t>(), (std::vector<int32_t>{3, 1, 4}));
  EXPECT_TRUE(records.next_list<float>().empty());
  EXPECT_FALSE(records.is_at_end());
  EXPECT_EQ(records.next<char>(), 'x');
  EXPECT_TRUE(records.is_at_end());
  EXPECT_ERROR(records.next<char>(), "ranks: expected 1 bytes more, found 0");
}

TEST(Exchange, one_process_hears_at_once) {
  OneProcess alone;
  std::string heard;
  Exchange exchange(alone, [&](const std::string& found) { heard += found; });
  exchange.found() += "a";
  EXPECT_TRUE(exchange.is_due());
  EXPECT_TRUE(exchange.tell(true));
  EXPECT_EQ(heard, "a");
  EXPECT_FALSE(exchange.tell(false));
  EXPECT_EQ(heard, "a");
}

TEST(Exchange, ranks_of_other_paces_hear_the_same_in_the_same_order) {
  std::vector<std::string> heard(3);
  testing_support::run_ranks(3, [&](const std::shared_ptr<Communicator>& communicator) {
    const int64_t rank = communicator->ranks().index;
    Exchange exchange(*communicator,
                      [&](const std::string& found) { heard[static_cast<size_t>(rank)] += found; });
    int64_t told = 0;
    for (int64_t step = 0; step < 15 * rank; ++step) {  // the first rank has nothing to do
      exchange.found() += static_cast<char>('a' + rank);
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      if (exchange.is_due()) exchange.tell(true), ++told;
    }
    EXPECT_LE(told, 2);  // of 30 steps in 1.5 s
    while (exchange.tell(false)) continue;
  });
  EXPECT_EQ(std::ranges::count(heard[0], 'b'), 15);
  EXPECT_EQ(std::ranges::count(heard[0], 'c'), 30);
  EXPECT_EQ(heard[1], heard[0]);
  EXPECT_EQ(heard[2], heard[0]);
}

}  // namespace
}  // namespace hypenet
