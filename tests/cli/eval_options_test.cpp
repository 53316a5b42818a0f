// What eval refuses before it reads or runs anything.
#include <gmock/gmock.h>

#include "tests/support/expect_error_line.h"
#include "tests/support/model_folder.h"
#include "tests/support/program.h"
#include "tests/support/refusal.h"

namespace hypenet {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing_support::expect_error_line;
using testing_support::ProgramResult;
using testing_support::refusal;
using testing_support::run_program;

constexpr const char* kChoices =
    R"({"context": "Fish live in the", "choices": [" sky", " sea"], "answer": 1}
)";
constexpr const char* kCompletions = R"({"context": "The code is", "answer": "7"}
)";

class EvalOptionsTest : public testing::Test {
 protected:
  EvalOptionsTest() {
    testing_support::write_byte_model(root_ / "model");
    write_file(root_ / "choices.jsonl", kChoices);
    write_file(root_ / "completions.jsonl", kCompletions);
  }

  std::string file(const std::string& name) const { return (root_ / name).string(); }

  std::vector<std::string> command(std::vector<std::string> options) const {
    options.insert(options.begin(), {"eval", file("model")});
    return options;
  }
  ProgramResult eval(const std::vector<std::string>& options) const {
    return run_program(command(options));
  }
  ProgramResult refused(const std::vector<std::string>& options) const {
    return refusal(add_eval_command, command(options));
  }

  TemporaryFolder root_;
};

TEST_F(EvalOptionsTest, options_that_nothing_reads_are_refused) {
  struct Case {
    std::string tasks;
    std::vector<std::string> option;
    std::string readers;
  };
  const std::string own = file("choices.jsonl");
  for (const auto& [tasks, option, readers] : std::vector<Case>{
           {own, {"--shots", "1"}, "data sets of choices, and lambada"},
           {own, {"--data-dir", "x"}, "tasks with a data set, and needle-grid in essays"},
           {own, {"--lengths", "512"}, "RULER's tasks"},
           {own, {"--samples", "2"}, "RULER's tasks, and needle-grid"},
           {own, {"--task-version", "1"}, "fda, swde and squad_completion"},
           {own, {"--ruler-rule", "harness"}, "RULER's tasks"},
           {own, {"--seed", "1"}, "recall, RULER's tasks and needle-grid"},
           {own, {"--text", "x"}, "text, recall, and needle-grid with --needle facts"},
           {own, {"--context", "64"}, "text (--contexts is that of recall and needle-grid)"},
           {own, {"--plot", "x.svg"}, "needle-grid"},
           {own, {"--compare-with", "x"}, "needle-grid"},
           {"text", {"--limit", "3"}, "tasks of items"},
           {"text", {"--lengths", "512"}, "RULER's tasks"},
           {"text", {"--contexts", "512"}, "recall and needle-grid (--context is that of text)"},
           {"text", {"--max-length", "9"}, "tasks of items, and needle-grid"},
           {"text", {"--memory", "1"}, "tasks whose answers are generated"},
           {"recall", {"--windows", "3"}, "text"},
           {"recall", {"--log-samples", "x"}, "tasks of items"},
           {"niah_single_1", {"--data-dir", "x"}, "tasks with a data set"},
           {"niah_single_1", {"--batch", "9"}, "tasks that score, text and recall"},
           {"arc_easy", {"--memory", "1"}, "tasks whose answers are generated"},
           {"wikitext", {"--shots", "1"}, "data sets of choices, and lambada"},
           {"needle-grid", {"--text", "x"}, "text, recall, and needle-grid with --needle facts"},
           {"needle-grid", {"--limit", "2"}, "tasks of items"}}) {
    std::vector<std::string> options = {"--tasks", tasks};
    options.insert(options.end(), option.begin(), option.end());
    expect_error_line(refused(options),
                      concat(option[0], ": has no effect on ", tasks, ": it is read by ", readers));
  }
  // One of several tasks reads it; and --list reads nothing.
  EXPECT_EQ(eval({"--tasks", own + "," + file("completions.jsonl"), "--memory", "1"}).code, 0);
  expect_error_line(refusal(add_eval_command, {"eval", "--list", "--limit", "3"}),
                    "--limit: has no effect with --list");
  expect_error_line(refused({"--tasks", "recall", "--text", "x", "--seed", "-1"}),
                    "--seed: expected 0 to 4294967295, found -1");
}

TEST_F(EvalOptionsTest, outputs_are_files_of_their_own) {
  const std::string tasks = file("choices.jsonl");
  expect_error_line(refused({"--tasks", tasks, "--out", file("x"), "--log-samples", file("./x")}),
                    "--log-samples: expected another file than --out, found ");
  expect_error_line(refused({"--tasks", tasks, "--log-samples", tasks}),
                    "--log-samples: expected another file than those that are read, found ");
  EXPECT_EQ(read_file(tasks), kChoices);
  const ProgramResult written =
      eval({"--tasks", tasks, "--out", file("x"), "--log-samples", file("y")});
  EXPECT_THAT(written.error, HasSubstr(concat("eval: wrote ", file("x"), ", ", file("y"), "\n")));
}

TEST_F(EvalOptionsTest, a_wrong_device_or_type_is_refused_before_data_is_read) {
  for (const std::vector<std::string>& option :
       {std::vector<std::string>{"--device", "tpu"}, {"--dtype", "int3"}, {"--memory", "-1"}}) {
    std::vector<std::string> options = {"--tasks", "arc_easy," + file("completions.jsonl")};
    options.insert(options.end(), option.begin(), option.end());
    const ProgramResult result = refused(options);
    EXPECT_EQ(result.code, 1);
    EXPECT_THAT(result.error, Not(HasSubstr("arc_easy")));
  }
}

}  // namespace
}  // namespace hypenet
