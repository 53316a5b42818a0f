// Progress lines and readable numbers.
#include "cli/progress.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "cli/numbers.h"
#include "cli/run_progress.h"

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

TEST(RunProgressTest, losses_and_pieces_have_names) {
  testing::internal::CaptureStderr();
  {
    RunProgress progress;
    progress.on_step({.stage = "distill",
                      .step = 10,
                      .steps = 10,
                      .loss = 0.25,
                      .learning_rate = 1e-3,
                      .loss_name = "KL"});
    progress.on_progress("sweep recall", 353, 353);
  }
  {
    RunProgress progress;
    progress.on_progress("tokenize", 353, 0);
  }
  const std::string lines = testing::internal::GetCapturedStderr();
  EXPECT_THAT(lines, testing::HasSubstr("distill: step 10/10, KL 0.2500, lr 1.00e-03"));
  EXPECT_THAT(lines, testing::HasSubstr("sweep recall: 353 of 353 rows\n"));
  EXPECT_THAT(lines, testing::HasSubstr("tokenize: 353 tokens\n"));
}

TEST(NumbersTest, digits_come_in_groups) {
  EXPECT_EQ(with_commas(0), "0");
  EXPECT_EQ(with_commas(999), "999");
  EXPECT_EQ(with_commas(1000), "1,000");
  EXPECT_EQ(with_commas(1234567), "1,234,567");
  EXPECT_EQ(with_commas(-123), "-123");
  EXPECT_EQ(with_commas(-1234), "-1,234");
}

TEST(NumbersTest, tokens_have_units) {
  EXPECT_EQ(readable_tokens(256), "256");
  EXPECT_EQ(readable_tokens(4096), "4K");
  EXPECT_EQ(readable_tokens(5000), "5,000");
  EXPECT_EQ(readable_tokens(1048576), "1M");
}

}  // namespace
}  // namespace hypenet
