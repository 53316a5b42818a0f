// Batches made ahead: in order, with the source's exceptions, and never in the way of an end.
#include "train/prefetch.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "tests/support/expect_error.h"
#include "tests/support/wait_until.h"

namespace hypenet {
namespace {

Batch numbered(int64_t step) {
  return {torch::full({1, 2}, step, torch::kInt64), torch::full({1, 2}, step + 1, torch::kInt64),
          torch::full({1, 2}, step % 2 == 0, torch::kBool)};
}

TEST(Prefetch, gives_the_batches_of_all_steps_in_order) {
  Prefetch prefetch(numbered, 3, 6, /*is_pinned=*/false);
  for (int64_t step = 3; step < 6; ++step) {
    const Batch batch = prefetch.next();
    EXPECT_EQ(batch.ids[0][0].item<int64_t>(), step);
    EXPECT_EQ(batch.targets[0][0].item<int64_t>(), step + 1);
    EXPECT_EQ(batch.answers[0][0].item<bool>(), step % 2 == 0);
  }
}

TEST(Prefetch, makes_one_batch_ahead_and_none_past_the_end) {
  std::atomic<int64_t> last = -1;
  const auto source = [&](int64_t step) {
    last = step;
    return numbered(step);
  };
  {
    Prefetch prefetch(source, 0, 10, /*is_pinned=*/false);
    prefetch.next();
  }
  EXPECT_EQ(last, 1);
  {
    Prefetch prefetch(source, 9, 10, /*is_pinned=*/false);
    prefetch.next();
  }
  EXPECT_EQ(last, 9);
  const Prefetch none(source, 10, 10, /*is_pinned=*/false);
  EXPECT_EQ(last, 9);
}

TEST(Prefetch, an_exception_of_the_source_comes_with_its_batch) {
  const auto source = [](int64_t step) {
    HYPENET_CHECK(step < 1, "tokens: cannot read");
    return numbered(step);
  };
  Prefetch prefetch(source, 0, 5, /*is_pinned=*/false);
  EXPECT_EQ(prefetch.next().ids[0][0].item<int64_t>(), 0);
  EXPECT_ERROR(prefetch.next(), "tokens: cannot read");
}

TEST(Prefetch, ends_while_a_batch_is_being_made) {
  std::atomic<bool> is_begun = false, is_made = false;
  {
    const Prefetch prefetch(
        [&](int64_t step) {
          is_begun = true;
          std::this_thread::sleep_for(std::chrono::milliseconds(20));
          is_made = true;
          return numbered(step);
        },
        0, 5, /*is_pinned=*/false);
    ASSERT_TRUE(testing_support::wait_until([&] { return is_begun.load(); }));
  }
  EXPECT_TRUE(is_made) << "the thread must not outlive what it reads";
}

}  // namespace
}  // namespace hypenet
