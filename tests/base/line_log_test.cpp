// What is appended stays, and belongs to one process.
#include "base/line_log.h"

#include <gtest/gtest.h>

#include "base/files.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace hypenet {
namespace {

TEST(LineLog, what_was_appended_is_there_for_the_next_one) {
  const TemporaryFolder folder;
  const auto path = folder / "log";
  {
    LineLog log(path);
    EXPECT_EQ(log.read(), "");
    log.append("one\ntwo\n");
    log.append("");
    log.append("thr");
  }
  LineLog log(path);
  EXPECT_EQ(log.read(), "one\ntwo\nthr");
  log.cut(8);
  log.append("three\n");
  EXPECT_EQ(read_file(path), "one\ntwo\nthree\n");
}

TEST(LineLog, one_process_at_a_time_writes_it) {
  const TemporaryFolder folder;
  const LineLog log(folder / "log");
  EXPECT_ERROR(LineLog(folder / "log"), "expected no other process that writes it, found one");
  EXPECT_ERROR(LineLog(folder / "none" / "log"), "cannot open: No such file");
}

}  // namespace
}  // namespace hypenet
