// What sweep refuses before it reads or runs anything; convert_test.cpp runs it.
#include <gtest/gtest.h>

#include "tests/support/expect_error_line.h"
#include "tests/support/program.h"

namespace hypenet {
namespace {

using testing_support::expect_error_line;
using testing_support::run_program;

TEST(SweepCommandTest, what_could_only_fail_at_the_end_is_refused_at_the_start) {
  const TemporaryFolder root;
  write_file(root / "text.txt", "Some text.");
  const std::string text = (root / "text.txt").string();
  const auto sweep = [&](std::vector<std::string> options) {
    options.insert(options.begin(), {"sweep", HYPENET_SOURCE "/models/tiny-teacher", "--aligned",
                                     (root / "no folder").string()});
    return run_program(options);
  };
  expect_error_line(sweep({"--data", text, "--scores", (root / "none/scores.csv").string()}),
                    "none/scores.csv: cannot write: No such file");
  expect_error_line(sweep({"--data", text, "--scores", root.path().string()}),
                    "expected a file, found a folder");
  expect_error_line(sweep({"--data", text, "--scores", text}),
                    "--scores: expected another file than those that are read");
  expect_error_line(sweep({"--data", text, "--seed", "-1"}),
                    "--seed: expected 0 or more, found -1");
  expect_error_line(sweep({"--data", text, "--needles", "9"}), "needles: expected 1 to 8, found 9");
  expect_error_line(sweep({"--data", text, "--limit", "3"}),
                    "--limit: has no effect on recall, text: it is read by tasks of items");
  expect_error_line(sweep({"--tasks", "text", "--data", text, "--prompts", "3"}),
                    "--prompts: has no effect on text: it is read by recall");
  expect_error_line(sweep({"--tasks", "arc_easy", "--data", text}),
                    "--data: has no effect on arc_easy: it is read by recall, text and lazy");
}

}  // namespace
}  // namespace hypenet
