// Large pages differ from others in speed alone; what can be seen is where they lie.
#include "base/large_pages.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <span>

#include "tests/support/expect_error.h"

namespace hypenet {
namespace {

TEST(LargePages, memory_is_zero_whole_and_at_a_large_page) {
  for (const size_t bytes : {size_t{1}, kLargePage, kLargePage + 1}) {
    const auto memory = map_large_pages(bytes);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(memory.get()) % kLargePage, 0U);
    const std::span all(memory.get(), (bytes + kLargePage - 1) / kLargePage * kLargePage);
    EXPECT_TRUE(std::ranges::all_of(all, [](std::byte x) { return x == std::byte{0}; }));
    std::ranges::fill(all, std::byte{1});
    EXPECT_EQ(all.back(), std::byte{1});
  }
}

TEST(LargePages, more_than_there_is_is_an_error) {
  EXPECT_ERROR(map_large_pages(SIZE_MAX), "memory: expected room for");
  EXPECT_ERROR(map_large_pages(SIZE_MAX / 2), "memory: expected room for");
}

}  // namespace
}  // namespace hypenet
