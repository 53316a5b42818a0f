// Sizes as people write and read them.
#include "base/readable_bytes.h"

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace hypenet {
namespace {

TEST(ReadableBytes, the_largest_unit_that_leaves_one_is_shown) {
  EXPECT_EQ(readable_bytes(0), "0 B");
  EXPECT_EQ(readable_bytes(512), "512 B");
  EXPECT_EQ(readable_bytes(1536), "1.5 KiB");
  EXPECT_EQ(readable_bytes((int64_t{1} << 30) - 1), "1.0 GiB");
  EXPECT_EQ(readable_bytes(int64_t{4} << 40), "4.0 TiB");
}

TEST(ReadableBytes, sizes_are_read_in_any_unit) {
  constexpr int64_t kGib = int64_t{1} << 30;
  for (const char* text : {"8", "8G", "8g", "8GiB", "8 GiB", "8.0gib", "8192M", "8388608KiB"}) {
    EXPECT_EQ(parse_bytes(text, "x"), 8 * kGib) << text;
  }
  EXPECT_EQ(parse_bytes("1.5", "x"), 3 * kGib / 2);
  EXPECT_EQ(parse_bytes("2T", "x"), 2048 * kGib);
  EXPECT_EQ(parse_bytes("8GB", "x"), 8'000'000'000);
  EXPECT_EQ(parse_bytes("100B", "x"), 100);
  EXPECT_EQ(parse_bytes("0", "x"), 0);
}

TEST(ReadableBytes, what_is_no_size_is_named) {
  for (const char* text :
       {"", "G", "-1", "8X", "8Gi", "8 G B", "nan", "inf", "8589934592", "1e30"}) {
    EXPECT_ERROR(parse_bytes(text, "--memory"),
                 "--memory: expected a size such as 8G or 512M (a number alone counts GiB), found");
  }
}

}  // namespace
}  // namespace hypenet
