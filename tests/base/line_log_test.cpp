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

TEST(LineLog, whole_lines_begin_with_a_header_and_leave_the_file_as_it_is) {
  const TemporaryFolder folder;
  const LineLog log(folder / "log");
  const Json header = {{"mark", 1}, {"settings", 2}};
  const auto lines_of = [&](const std::string& text) {
    write_file(folder / "log", text);
    const std::string lines = log.whole_lines(header, "ours");
    EXPECT_EQ(read_file(folder / "log"), text);
    return lines;
  };
  const std::string first = header.dump() + "\n", other = "{\"mark\":1,\"settings\":3}\n";
  for (const std::string& nothing : {std::string(), first.substr(0, 5), first, other}) {
    EXPECT_EQ(lines_of(nothing), "");
  }
  EXPECT_EQ(lines_of(other + "half"), "");
  EXPECT_EQ(lines_of(first + "one\ntwo\nhalf"), first + "one\ntwo\n");
  EXPECT_EQ(lines_of(other + "one\n"), other + "one\n");
  for (const std::string another : {"notes", "notes\n", "{}\n", "[1]\none\n", "{\"mark\":1}\n"}) {
    EXPECT_ERROR(lines_of(another), "log:1: expected a journal of ours, found another file");
  }
}

TEST(LineLog, one_process_at_a_time_writes_it) {
  const TemporaryFolder folder;
  const LineLog log(folder / "log");
  EXPECT_ERROR(LineLog(folder / "log"), "expected no other process that writes it, found one");
  EXPECT_ERROR(LineLog(folder / "none" / "log"), "cannot open: No such file");
}

}  // namespace
}  // namespace hypenet
