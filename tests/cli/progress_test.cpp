// Progress lines and readable numbers.
#include "cli/progress.h"

#include <gtest/gtest.h>

#include <sstream>

#include "cli/numbers.h"

namespace hypenet {
namespace {

TEST(ProgressTest, without_a_terminal_lines_are_plain_and_rare) {
  std::ostringstream out;
  {
    Progress progress(out, false);
    for (int i = 0; i < 1000; ++i) progress.show("step " + std::to_string(i));
    progress.finish("done");
  }
  EXPECT_EQ(out.str(), "step 0\ndone\n");
}

TEST(ProgressTest, on_a_terminal_one_line_is_redrawn) {
  std::ostringstream out;
  {
    Progress progress(out, true);
    for (int i = 0; i < 1000; ++i) progress.show("step " + std::to_string(i));
    progress.finish("done");
  }
  EXPECT_EQ(out.str(), "\r\x1b[Kstep 0\r\x1b[Kdone\n");
}

TEST(ProgressTest, an_unfinished_line_is_ended) {
  std::ostringstream out;
  { Progress(out, true).show("half"); }
  EXPECT_EQ(out.str(), "\r\x1b[Khalf\n");
}

TEST(NumbersTest, digits_come_in_groups) {
  EXPECT_EQ(with_commas(0), "0");
  EXPECT_EQ(with_commas(999), "999");
  EXPECT_EQ(with_commas(1000), "1,000");
  EXPECT_EQ(with_commas(1234567), "1,234,567");
  EXPECT_EQ(with_commas(-123), "-123");
  EXPECT_EQ(with_commas(-1234), "-1,234");
}

TEST(NumbersTest, bytes_and_tokens_have_units) {
  EXPECT_EQ(readable_bytes(512), "512 B");
  EXPECT_EQ(readable_bytes(1536), "1.5 KiB");
  EXPECT_EQ(readable_bytes((int64_t{1} << 30) - 1), "1.0 GiB");
  EXPECT_EQ(readable_bytes(int64_t{4} << 40), "4.0 TiB");
  EXPECT_EQ(readable_tokens(256), "256");
  EXPECT_EQ(readable_tokens(4096), "4K");
  EXPECT_EQ(readable_tokens(5000), "5,000");
  EXPECT_EQ(readable_tokens(1048576), "1M");
}

}  // namespace
}  // namespace hypenet
